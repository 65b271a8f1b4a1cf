//go:build runsd_static

package runsd

// #cgo pkg-config: runsd-static
import "C"
