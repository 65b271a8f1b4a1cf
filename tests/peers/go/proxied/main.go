// net/http told of runsd by http_proxy alone: services by name, a host elsewhere
// in the clear, and one over TLS through a blind relay.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func main() {
	proxy, err := url.Parse(os.Getenv("http_proxy"))
	if err != nil {
		panic(err)
	}
	// runsd sets no proxy for https, because apps reach such hosts by
	// themselves; an app that wants one names it.
	secure := &http.Transport{Proxy: http.ProxyURL(proxy)}
	for _, address := range []string{
		"http://hello/", "http://hello.us-east1.run.internal/", "http://example.com/", "https://example.com/",
	} {
		client := &http.Client{Timeout: 30 * time.Second}
		if strings.HasPrefix(address, "https:") {
			client.Transport = secure
		}
		response, err := client.Get(address)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			panic(err)
		}
		response.Body.Close()
		fmt.Println(response.StatusCode, strings.TrimSpace(string(body)))
	}
}
