// grpc-go against the service grpc; prints each check it passed.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const megabyte = 1 << 20

// raw passes messages as they are.
type raw struct{}

func (raw) Name() string                       { return "raw" }
func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }

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

// background ends with the program, which is bounded by its caller.
func background() context.Context { return context.Background() }

func unary(c *grpc.ClientConn, ctx context.Context, method string, message []byte, options ...grpc.CallOption) ([]byte, error) {
	var answer []byte
	err := c.Invoke(ctx, "/sim.Echo/"+method, &message, &answer, options...)
	return answer, err
}

func stream(c *grpc.ClientConn, ctx context.Context, method string) grpc.ClientStream {
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	s, err := c.NewStream(ctx, description, "/sim.Echo/"+method)
	must(err)
	return s
}

func send(s grpc.ClientStream, message []byte) { must(s.SendMsg(&message)) }

// rest reads to the end of the stream.
func rest(s grpc.ClientStream) (answers [][]byte) {
	for {
		var answer []byte
		err := s.RecvMsg(&answer)
		if err == io.EOF {
			return
		}
		must(err)
		answers = append(answers, answer)
	}
}

func kinds(c *grpc.ClientConn) {
	answer, err := unary(c, background(), "Unary", []byte("one"))
	must(err)
	equal(string(answer), "one")
	fmt.Println("unary")
	s := stream(c, background(), "ServerStream")
	send(s, []byte("\x05x"))
	must(s.CloseSend())
	equal(len(rest(s)), 5)
	fmt.Println("server stream")
	s = stream(c, background(), "ClientStream")
	for _, part := range []string{"a", "b", "c"} {
		send(s, []byte(part))
	}
	must(s.CloseSend())
	equal(string(rest(s)[0]), "c")
	fmt.Println("client stream")
	s = stream(c, background(), "Bidi")
	for number := range 20 {
		send(s, []byte(strconv.Itoa(number)))
		var answer []byte
		must(s.RecvMsg(&answer))
		equal(string(answer), strconv.Itoa(number))
	}
	must(s.CloseSend())
	equal(len(rest(s)), 0)
	fmt.Println("bidirectional stream")
}

func withMetadata(c *grpc.ClientConn) {
	every := make([]byte, 256)
	for at := range every {
		every[at] = byte(at)
	}
	ctx := metadata.AppendToOutgoingContext(background(), "x-text", "two  words", "x-odd-bin", string(every))
	var head, trailer metadata.MD
	_, err := unary(c, ctx, "Unary", []byte("x"), grpc.Header(&head), grpc.Trailer(&trailer))
	must(err)
	for _, received := range []metadata.MD{head, trailer} {
		equal(received.Get("x-text")[0], "two  words")
		equal(received.Get("x-odd-bin")[0], string(every))
	}
	fmt.Println("metadata")
}

func failures(c *grpc.ClientConn) {
	for code := 1; code <= 16; code++ {
		ctx := metadata.AppendToOutgoingContext(background(), "x-sim-status", strconv.Itoa(code))
		_, err := unary(c, ctx, "Fail", nil)
		equal(status.Code(err), codes.Code(code))
		equal(status.Convert(err).Message(), "failed as asked")
	}
	_, err := unary(c, background(), "Missing", nil)
	equal(status.Code(err), codes.Unimplemented)
	fmt.Println("trailers-only errors")
}

func sizes(c *grpc.ClientConn) {
	large := make([]byte, 9*megabyte)
	rand.Read(large)
	answer, err := unary(c, background(), "Unary", large)
	must(err)
	equal(bytes.Equal(answer, large), true)
	s := stream(c, background(), "ServerStream")
	send(s, append([]byte{3}, large[:5*megabyte]...))
	must(s.CloseSend())
	equal(len(rest(s)), 3)
	fmt.Println("large messages")
	s = stream(c, metadata.AppendToOutgoingContext(background(), "x-sim-bytes", "65536"), "Trailers")
	must(s.CloseSend())
	equal(len(rest(s)), 0)
	equal(len(s.Trailer().Get("x-sim-large")[0]), 65536)
	fmt.Println("large trailers")
	s = stream(c, background(), "Bidi")
	go func() {
		for range 20_000 {
			send(s, []byte("."))
		}
		must(s.CloseSend())
	}()
	equal(len(rest(s)), 20_000)
	fmt.Println("many small messages")
}

func ends(c *grpc.ClientConn) {
	short, done := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer done()
	s := stream(c, short, "Hang")
	var answer []byte
	equal(status.Code(s.RecvMsg(&answer)), codes.DeadlineExceeded)
	fmt.Println("deadline")
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "x-cancelled", "yes"))
	s = stream(c, ctx, "Hang")
	must(s.CloseSend())
	_, err := s.Header()
	must(err)
	cancel()
	equal(status.Code(s.RecvMsg(&answer)), codes.Canceled)
	// The library tells the peer on its own time; the next call is behind it.
	_, err = unary(c, background(), "Unary", nil)
	must(err)
	fmt.Println("cancellation")
}

func main() {
	c, err := grpc.NewClient(
		os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(16*megabyte)),
		grpc.WithMaxHeaderListSize(256<<10),
	)
	must(err)
	defer c.Close()
	if os.Args[2] == "status" {
		_, err := unary(c, background(), "Unary", []byte("x"))
		fmt.Println(int(status.Code(err)), strings.TrimSpace(status.Convert(err).Message()))
		return
	}
	for _, part := range []func(*grpc.ClientConn){kinds, withMetadata, failures, sizes, ends} {
		part(c)
	}
}
