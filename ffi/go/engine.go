package runsd

// #include <runsd.h>
import "C"

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Version is the version of the C library.
func Version() string { return C.GoString(C.runsd_version()) }

// ErrClosed is what methods of an [Engine] return after its Close.
var ErrClosed = errors.New("runsd: the engine is closed")

// A State is where an engine is in its life.
type State int

// The states.
const (
	Running  State = C.RUNSD_RUNNING
	Stopping State = C.RUNSD_STOPPING
	Stopped  State = C.RUNSD_STOPPED
	Failed   State = C.RUNSD_FAILED
)

// Stats are counts since an engine's start.
type Stats struct {
	DNSQueries, DNSForwarded, DNSFailed          uint64
	ProxyConnections, ProxyRequests, ProxyErrors uint64
	UpstreamConnections, UpstreamReused          uint64
	TokenFetches, TokenFailures                  uint64
	Panics                                       uint64
}

// A StopReport is what stopping did.
type StopReport struct {
	// Aborted is how many exchanges were under way when the time ran out, and
	// were cut.
	Aborted uint64
}

// An Engine runs until it is stopped or closed.
type Engine struct {
	// Held for reading by calls into C, for writing by the one that frees.
	lock  sync.RWMutex
	inner *C.runsd_engine
}

// Start starts an engine and returns when it serves. It blocks, usually for
// some milliseconds and for at most about 2 s while the metadata server is
// silent. The caller closes the engine.
func Start(options Options) (*Engine, error) {
	config, err := options.config()
	if err != nil {
		return nil, err
	}
	defer C.runsd_config_free(config)
	engine := &Engine{}
	var cause *C.runsd_error
	status := C.runsd_start(config, &engine.inner, &cause)
	if err := taken(status, cause); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(engine, (*Engine).Close)
	return engine, nil
}

// Close stops the engine at once and frees it; doing it again does nothing. It
// fails in a [slog.Handler] of the engine's own, where it would wait for itself.
func (e *Engine) Close() error {
	if _, err := e.stop(0); err != nil {
		switch {
		case errors.Is(err, ErrClosed):
			return nil
		case errors.Is(err, ErrBusy), errors.Is(err, ErrForked):
			return err
		}
		// It had failed before, and is stopped all the same.
	}
	e.lock.Lock()
	defer e.lock.Unlock()
	C.runsd_engine_free(e.inner)
	e.inner = nil
	runtime.SetFinalizer(e, nil)
	return nil
}

// Stop refuses new work, lets what is under way finish until ctx's deadline,
// without one for as long as it takes, and cuts the rest. If ctx is cancelled it
// returns at once, and the engine goes on stopping. The engine must still be
// closed.
func (e *Engine) Stop(ctx context.Context) (StopReport, error) {
	drain := time.Duration(math.MaxInt64)
	if deadline, ok := ctx.Deadline(); ok {
		drain = time.Until(deadline)
	}
	type outcome struct {
		report StopReport
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		report, err := e.stop(drain)
		done <- outcome{report, err}
	}()
	select {
	case result := <-done:
		return result.report, result.err
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return StopReport{}, ctx.Err()
	}
	result := <-done
	return result.report, result.err
}

func (e *Engine) stop(drain time.Duration) (StopReport, error) {
	report := C.runsd_stop_report{size: C.size_t(unsafe.Sizeof(C.runsd_stop_report{}))}
	milliseconds := min(max(drain.Milliseconds(), 0), math.MaxUint32)
	err := e.with(func(inner *C.runsd_engine) error {
		var cause *C.runsd_error
		status := C.runsd_stop(inner, C.uint32_t(milliseconds), &report, &cause)
		return taken(status, cause)
	})
	return StopReport{Aborted: uint64(report.aborted)}, err
}

// Wait waits until the engine has stopped, or ctx is done; its error is why the
// engine failed, or ctx's.
func (e *Engine) Wait(ctx context.Context) error {
	// Short enough for a cancellation to be heard, long enough to cost nothing.
	const turn = 100
	for {
		err := e.with(func(inner *C.runsd_engine) error {
			var cause *C.runsd_error
			status := C.runsd_wait(inner, turn, &cause)
			return taken(status, cause)
		})
		if !errors.Is(err, ErrTimeout) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// State is where the engine is in its life; [Stopped] once it is closed.
func (e *Engine) State() State {
	state := Stopped
	_ = e.with(func(inner *C.runsd_engine) error {
		state = State(C.runsd_state(inner))
		return nil
	})
	return state
}

// Stats are the counts now.
func (e *Engine) Stats() (Stats, error) {
	counts := C.runsd_stats{size: C.size_t(unsafe.Sizeof(C.runsd_stats{}))}
	err := e.with(func(inner *C.runsd_engine) error {
		return taken(C.runsd_get_stats(inner, &counts), nil)
	})
	return Stats{
		DNSQueries:          uint64(counts.dns_queries),
		DNSForwarded:        uint64(counts.dns_forwarded),
		DNSFailed:           uint64(counts.dns_failed),
		ProxyConnections:    uint64(counts.proxy_connections),
		ProxyRequests:       uint64(counts.proxy_requests),
		ProxyErrors:         uint64(counts.proxy_errors),
		UpstreamConnections: uint64(counts.upstream_connections),
		UpstreamReused:      uint64(counts.upstream_reused),
		TokenFetches:        uint64(counts.token_fetches),
		TokenFailures:       uint64(counts.token_failures),
		Panics:              uint64(counts.panics),
	}, err
}

// ProxyAddr is where the proxy listens, as ADDRESS:PORT; empty in the mode off.
func (e *Engine) ProxyAddr() string {
	return e.address(func(inner *C.runsd_engine, text *C.char, room C.size_t) C.size_t {
		return C.runsd_proxy_addr(inner, 0, text, room)
	})
}

// DNSAddr is where DNS is answered, as ADDRESS:PORT; empty but in the mode full.
func (e *Engine) DNSAddr() string {
	return e.address(func(inner *C.runsd_engine, text *C.char, room C.size_t) C.size_t {
		return C.runsd_dns_addr(inner, 0, text, room)
	})
}

// AdminAddr is where the admin endpoint is, as ADDRESS:PORT; empty unless the
// setting admin_addr asks for one.
func (e *Engine) AdminAddr() string {
	return e.address(func(inner *C.runsd_engine, text *C.char, room C.size_t) C.size_t {
		return C.runsd_admin_addr(inner, text, room)
	})
}

func (e *Engine) address(ask func(*C.runsd_engine, *C.char, C.size_t) C.size_t) string {
	var text [64]C.char
	_ = e.with(func(inner *C.runsd_engine) error {
		ask(inner, &text[0], C.size_t(len(text)))
		return nil
	})
	return C.GoString(&text[0])
}

// Transport returns a transport of its own whose http:// requests go through
// the engine's proxy; no DNS is needed for them. Requests for https:// go where
// [http.DefaultTransport] would send them, and in the mode off all do.
func (e *Engine) Transport() *http.Transport {
	transport := &http.Transport{}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = standard.Clone()
	}
	if address := e.ProxyAddr(); address != "" {
		proxy := &url.URL{Scheme: "http", Host: address}
		transport.Proxy = func(request *http.Request) (*url.URL, error) {
			if request.URL.Scheme == "http" {
				return proxy, nil
			}
			return http.ProxyFromEnvironment(request)
		}
	}
	return transport
}

// with calls into C while the engine cannot be freed.
func (e *Engine) with(call func(*C.runsd_engine) error) error {
	e.lock.RLock()
	defer e.lock.RUnlock()
	if e.inner == nil {
		return ErrClosed
	}
	return call(e.inner)
}
