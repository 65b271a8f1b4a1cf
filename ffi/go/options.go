package runsd

// #include <stdint.h>
// #include <stdlib.h>
// #include <runsd.h>
//
// extern void runsdGoLog(void *, runsd_log_record *);
// extern void runsdGoDrop(void *);
//
// static runsd_status log_to_go(runsd_config *config, uintptr_t handle) {
// 	return runsd_config_set_log(config, (runsd_log_fn)runsdGoLog, (void *)handle, runsdGoDrop);
// }
import "C"

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime/cgo"
	"unsafe"
)

// Options say how an engine is to be. The zero value is what the command runsd
// does by itself.
type Options struct {
	// Mode is how names reach the program: "auto", "full", "proxy" or "off".
	Mode string
	// Region and Project complete names that give none; otherwise the metadata
	// server says them.
	Region, Project string
	// ProxyAddr is where the proxy listens, as ADDRESS:PORT; port 0 lets the
	// kernel choose.
	ProxyAddr string
	// Routes say where names lead, instead of the URLs built from them.
	Routes []Route
	// Settings are further settings by their keys in the JSON configuration
	// file; lists as a JSON array.
	Settings map[string]string
	// Logger receives the log; without one it goes to standard error. What the
	// Logger is enabled for is the level, unless Settings have a log_level. The
	// records come from one thread, one at a time.
	Logger *slog.Logger
}

// A Route says where a name leads.
type Route struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Audience string `json:"audience,omitempty"`
	// Token is whether an identity token is sent; nil: as runsd decides, which
	// is over TLS.
	Token *bool `json:"token,omitempty"`
}

// settings are the options by their keys.
func (o *Options) settings() (map[string]string, error) {
	all := map[string]string{}
	if o.Logger != nil {
		all["log_level"] = level(o.Logger)
	}
	for key, value := range map[string]string{
		"mode": o.Mode, "region": o.Region, "project": o.Project, "proxy_addr": o.ProxyAddr,
	} {
		if value != "" {
			all[key] = value
		}
	}
	if len(o.Routes) > 0 {
		routes, err := json.Marshal(o.Routes)
		if err != nil {
			return nil, err
		}
		all["routes"] = string(routes)
	}
	for key, value := range o.Settings {
		all[key] = value
	}
	return all, nil
}

// config makes the C library's configuration; the caller frees it.
func (o *Options) config() (*C.runsd_config, error) {
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	config := C.runsd_config_new(C.RUNSD_ABI_VERSION)
	if config == nil {
		return nil, errors.New("runsd: the installed library has another interface version")
	}
	for key, value := range settings {
		if err := set(config, key, value); err != nil {
			C.runsd_config_free(config)
			return nil, err
		}
	}
	if o.Logger != nil {
		handle := cgo.NewHandle(o.Logger)
		if status := C.log_to_go(config, C.uintptr_t(handle)); status != C.RUNSD_OK {
			handle.Delete()
			C.runsd_config_free(config)
			return nil, taken(status, nil)
		}
	}
	return config, nil
}

func set(config *C.runsd_config, key, value string) error {
	k, v := C.CString(key), C.CString(value)
	defer C.free(unsafe.Pointer(k))
	defer C.free(unsafe.Pointer(v))
	var cause *C.runsd_error
	status := C.runsd_config_set(config, k, v, &cause)
	return taken(status, cause)
}

// level is the key log_level of what a logger is enabled for.
func level(logger *slog.Logger) string {
	ctx := context.Background()
	for _, l := range []struct {
		level slog.Level
		name  string
	}{
		{levelTrace, "trace"}, {slog.LevelDebug, "debug"},
		{slog.LevelInfo, "info"}, {slog.LevelWarn, "warn"},
	} {
		if logger.Enabled(ctx, l.level) {
			return l.name
		}
	}
	return "error"
}
