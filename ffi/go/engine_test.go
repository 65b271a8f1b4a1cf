package runsd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func service(t *testing.T, handler http.HandlerFunc) []Route {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return []Route{{Name: "hello", URL: server.URL}}
}

func start(t *testing.T, options Options) *Engine {
	t.Helper()
	options.Mode = "proxy"
	engine, err := Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func TestATransportReachesAService(t *testing.T) {
	routes := service(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})
	engine := start(t, Options{Routes: routes})
	client := &http.Client{Transport: engine.Transport()}
	response, err := client.Get("http://hello/path")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "GET /path" {
		t.Errorf("%d: %s", response.StatusCode, body)
	}
	if stats, err := engine.Stats(); err != nil || stats.ProxyRequests != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestMistakesAreToldTogether(t *testing.T) {
	_, err := Start(Options{Mode: "nonsense", Settings: map[string]string{"regoin": "us-east1"}})
	var failure *Error
	if !errors.Is(err, ErrConfig) || !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if !strings.Contains(err.Error(), "nonsense") || !strings.Contains(err.Error(), "regoin") {
		t.Error(err)
	}
}

func TestTheAdminEndpointIsWhereItSays(t *testing.T) {
	settings := map[string]string{"admin_addr": "127.0.0.1:0", "access_log": "true"}
	engine := start(t, Options{Settings: settings})
	response, err := http.Get("http://" + engine.AdminAddr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
	if address := start(t, Options{}).AdminAddr(); address != "" {
		t.Error(address)
	}
}

func TestATakenPortIsTheSystemsError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = Start(Options{Mode: "proxy", ProxyAddr: taken.Addr().String()})
	if !errors.Is(err, ErrAddrInUse) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}

func TestTheLogReachesALogger(t *testing.T) {
	var text bytes.Buffer
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	engine := start(t, Options{Logger: slog.New(slog.NewTextHandler(&text, level))})
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	// Nothing writes any more, so nothing but the Close need order this.
	if !strings.Contains(text.String(), "logger=runsd.engine") {
		t.Error(text.String())
	}
}

type closing struct {
	slog.Handler
	engine chan *Engine
	told   chan error
	once   *sync.Once
}

func (c closing) Handle(context.Context, slog.Record) error {
	c.once.Do(func() { c.told <- (<-c.engine).Close() })
	return nil
}

func TestAHandlerCannotCloseItsEngine(t *testing.T) {
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	handler := closing{
		slog.NewTextHandler(io.Discard, level),
		make(chan *Engine, 1), make(chan error, 1), &sync.Once{},
	}
	engine := start(t, Options{Logger: slog.New(handler)})
	handler.engine <- engine
	if err := <-handler.told; !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

func TestAStopCutsWhatTakesTooLong(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	defer close(release)
	routes := service(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
	})
	engine := start(t, Options{Routes: routes})
	go func() {
		client := &http.Client{Transport: engine.Transport()}
		if response, err := client.Get("http://hello/"); err == nil {
			response.Body.Close()
		}
	}()
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	report, err := engine.Stop(ctx)
	if err != nil || report.Aborted != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if again, err := engine.Stop(context.Background()); err != nil || again != report {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestManyMayWaitStopAndClose(t *testing.T) {
	engine := start(t, Options{})
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			var err error
			switch i % 3 {
			case 0:
				err = engine.Wait(context.Background())
			case 1:
				_, err = engine.Stop(context.Background())
			case 2:
				err = engine.Close()
			}
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}(i)
	}
	all.Wait()
	if engine.State() != Stopped || engine.ProxyAddr() != "" {
		t.Error(engine.State())
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	engine := start(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := engine.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if engine.State() != Running {
		t.Error(engine.State())
	}
}

func Example() {
	hello := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello from ", r.URL.Path)
	}))
	defer hello.Close()
	engine, err := Start(Options{
		Mode:   "proxy",
		Routes: []Route{{Name: "hello", URL: hello.URL}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()
	client := &http.Client{Transport: engine.Transport()}
	response, err := client.Get("http://hello/world")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	_, _ = io.Copy(os.Stdout, response.Body)
	// Output: hello from /world
}

func ExampleError() {
	_, err := Start(Options{Mode: "sideways"})
	fmt.Println(errors.Is(err, ErrConfig))
	// Output: true
}
