package tlsrpt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReceiverSlowPosts: senders that let their report trickle keep nobody else's
// away.
func TestReceiverSlowPosts(t *testing.T) {
	accepted := make(chan string, 20)
	h := &Receiver{AtOnce: 2, Accept: func(_ context.Context, r *Report, _ []Warning) error { accepted <- r.ID; return nil }}
	server := httptest.NewServer(h)
	defer server.Close()
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	var conns []net.Conn
	for range 10 {
		conn, err := net.Dial("tcp", u.Host)
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n", TypeJSON)
		require.NoError(t, err)
		// The server asks for the body, so its handler waits for it.
		line := make([]byte, 25)
		_, err = io.ReadFull(conn, line)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n\r\n", string(line))
		conns = append(conns, conn)
	}
	response, err := http.Post(server.URL, TypeJSON, strings.NewReader(tolerated()))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, 201, response.StatusCode)
	require.Equal(t, "i", <-accepted)
	require.Len(t, conns, 10)
}

// TestReceiverBodies: the bodies that are held while they come are bounded together.
func TestReceiverBodies(t *testing.T) {
	h := &Receiver{AtOnce: 1, Limits: Limits{Compressed: 1 << 20}, Accept: func(context.Context, *Report, []Warning) error { return nil }}
	server := httptest.NewServer(h)
	defer server.Close()
	refused := make(chan int, 5)
	var writers []*io.PipeWriter
	const posts = 5 // of up to a MiB of room each, where four have it
	for range posts {
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() {
			response, err := http.Post(server.URL, TypeJSON, r)
			r.Close() // a writer that still waits goes on
			if err != nil {
				refused <- 0
				return
			}
			response.Body.Close()
			refused <- response.StatusCode
		}()
	}
	for _, w := range writers {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 900<<10)) // may be refused on the way
	}
	require.Contains(t, []int{0, 503}, <-refused, "all together are too much")
	for _, w := range writers {
		w.Close()
	}
	for range posts - 1 {
		require.Contains(t, []int{0, 503, 400}, <-refused, "blanks are no report")
	}
	response, err := http.Post(server.URL, TypeJSON, strings.NewReader(tolerated()))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, 201, response.StatusCode, "the room is free again")
}

// TestReceiverAtOnce: no more reports are read at the same time than is allowed;
// others wait, and are told to come again if that takes too long.
func TestReceiverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		h := &Receiver{AtOnce: 1, Accept: func(context.Context, *Report, []Warning) error { <-leave; return nil }}
		status := make(chan int, 3)
		post := func() {
			request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tolerated()))
			request.Header.Set("Content-Type", TypeJSON)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request)
			status <- w.Code
		}
		go post()
		synctest.Wait()
		go post()
		time.Sleep(slotTime + time.Second)
		require.Equal(t, 503, <-status)
		go post()
		synctest.Wait()
		require.Empty(t, status)
		close(leave)
		require.Equal(t, 201, <-status)
		require.Equal(t, 201, <-status, "it has waited")
	})
}
