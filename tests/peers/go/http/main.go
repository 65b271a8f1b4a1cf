// net/http against many services, over HTTP/1.1 or (with the argument 2) HTTP/2
// without TLS; prints each check it passed.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"time"
)

const (
	size  = 10 << 20
	piece = 64 << 10
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](found, wanted T) {
	if found != wanted {
		panic(fmt.Sprintf("%v, not %v", found, wanted))
	}
}

// counted is what download?counted sends.
func counted() []byte {
	all := make([]byte, size)
	for at := range all {
		all[at] = byte(at / piece % 251)
	}
	return all
}

func do(client *http.Client, request *http.Request) (*http.Response, []byte) {
	response, err := client.Do(request)
	must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(err)
	return response, body
}

func request(method, url string, body io.Reader) *http.Request {
	made, err := http.NewRequest(method, url, body)
	must(err)
	return made
}

func get(client *http.Client, url string) (*http.Response, []byte) {
	return do(client, request("GET", url, nil))
}

func bodies(client *http.Client) {
	for number := range 20 {
		_, body := get(client, fmt.Sprintf("http://hello/%d", number))
		equal(string(body), "hello from hello (us-central1)\n")
	}
	fmt.Println("keep-alive")
	content := make([]byte, size)
	rand.Read(content)
	sum := sha256.Sum256(content)
	// The second one hides its length.
	for _, reader := range []io.Reader{bytes.NewReader(content), io.MultiReader(bytes.NewReader(content))} {
		_, body := do(client, request("POST", "http://upload/", reader))
		var answer struct {
			Bytes  int
			Sha256 string
		}
		must(json.Unmarshal(body, &answer))
		equal(answer.Bytes, size)
		equal(answer.Sha256, hex.EncodeToString(sum[:]))
	}
	fmt.Println("uploads")
	for _, form := range []string{"", "&chunked"} {
		_, body := get(client, fmt.Sprintf("http://download/?counted&bytes=%d%s", size, form))
		equal(bytes.Equal(body, counted()), true)
	}
	fmt.Println("downloads")
}

func heads(client *http.Client) {
	response, body := get(client, "http://redirect/")
	equal(string(body), "landed\n")
	equal(response.Request.URL.String(), "http://redirect/landed")
	fmt.Println("redirect")
	get(client, "http://status/?field=set-cookie:a%3D1&field=set-cookie:b%3D2")
	get(client, "http://status/with-cookies")
	fmt.Println("cookies")
	response, body = do(client, request("HEAD", fmt.Sprintf("http://download/?bytes=%d", size), nil))
	equal(response.ContentLength, int64(size))
	equal(len(body), 0)
	for _, code := range []int{204, 304, 299, 418, 599, 999} {
		response, _ := get(client, fmt.Sprintf("http://status/?code=%d", code))
		equal(response.StatusCode, code)
	}
	fmt.Println("statuses")
}

func extras(client *http.Client) {
	var interim []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		interim = append(interim, fmt.Sprint(code, fields.Get("Link")))
		return nil
	}}
	asked := request("POST", "http://hints/", strings.NewReader("waited"))
	asked.Header.Set("Expect", "100-continue")
	_, body := do(client, asked.WithContext(httptrace.WithClientTrace(asked.Context(), trace)))
	equal(string(body), "hints 6\n")
	equal(strings.Join(interim, "|"), "100|103</style.css>; rel=preload; as=style")
	fmt.Println("interim responses")
	asked = request("POST", "http://trailers/", io.MultiReader(strings.NewReader("summed")))
	asked.Trailer = http.Header{"X-Sum": {"42"}}
	response, body := do(client, asked)
	equal(string(body), "summed")
	equal(response.Trailer.Get("X-Sum"), "42")
	equal(response.Trailer.Get("X-Sim-Trailer"), "end")
	fmt.Println("trailers")
}

func main() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(os.Args[1] == "1")
	protocols.SetUnencryptedHTTP2(os.Args[1] == "2")
	transport := &http.Transport{Protocols: protocols, ExpectContinueTimeout: 10 * time.Second}
	jar, err := cookiejar.New(nil)
	must(err)
	client := &http.Client{Transport: transport, Jar: jar, Timeout: 30 * time.Second}
	bodies(client)
	heads(client)
	extras(client)
}
