module github.com/runsd/runsd/ffi/go

go 1.21
