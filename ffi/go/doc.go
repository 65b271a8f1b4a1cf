// Package runsd reaches Cloud Run services by name, authenticated, from this
// very process.
//
// An [Engine] runs runsd's proxy, and where it may its DNS server, on threads of
// its own. [Engine.Transport] gives an [http.Transport] that goes through it:
//
//	engine, err := runsd.Start(runsd.Options{Mode: "proxy"})
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	client := &http.Client{Transport: engine.Transport()}
//	response, err := client.Get("http://hello/")
//
// The package needs the C library, which "make install" of runsd's sources
// installs, and finds it with pkg-config. With the build tag runsd_static the
// library becomes part of the program.
//
// Every method may be called from any goroutine. None of them works in a child
// process that was forked, which Go programs do not do.
package runsd
