package handlers

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dial opens a connection that speaks for itself.
func (w *world) dial(tb testing.TB) net.Conn {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// answered reads one answer; 0 means that the connection was closed without one.
func answered(tb testing.TB, conn net.Conn) (status int, rest string) {
	tb.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Errorf("reading the answer: %v", err)
	}
	return res.StatusCode, string(body)
}

func head(extra string) string {
	return "POST " + hook + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\n" + extra
}

// What no HTTP client would send.
func TestRawInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Limits.BodyTime = time.Second })
	body, header := pushOf(testRepo, "refs/heads/main")
	signed := head("X-Hub-Signature-256: " + header.Get("X-Hub-Signature-256") + "\r\n")
	for _, tt := range []struct {
		name, send string
		closeWrite bool
		want       int
	}{
		{"no HTTP", "hello\r\n\r\n", false, 400},
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", false, 400},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, 404},
		{"no host", "POST " + hook + " HTTP/1.1\r\n\r\n", false, 400},
		{"NUL in a header", head("X: a\x00b\r\nContent-Length: 0\r\n\r\n"), false, 400},
		{"header of 100 KB", head("X: " + strings.Repeat("a", 100<<10) + "\r\n\r\n"), false, 431},
		{"10 000 headers", head(strings.Repeat("X: aaaaaa\r\n", 10_000) + "\r\n"), false, 431},
		{"two lengths", head("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), false, 400},
		{"negative length", head("Content-Length: -1\r\n\r\n"), false, 400},
		{"overlong length", head("Content-Length: 99999999999999999999\r\n\r\n"), false, 400},
		{"length above the limit, waiting", head("Content-Length: 27262976\r\nExpect: 100-continue\r\n\r\n"), false, 413},
		{"unknown transfer encoding", head("Transfer-Encoding: gzip, chunked\r\n\r\n"), false, 501},
		{"broken chunk", head("Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), false, 400},
		{"chunk of negative size", head("Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n"), false, 400},
		{"shorter than its length", signed + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+1, body), true, 400},
		{"shorter than its length, and silent", signed + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+1, body), false, 408},
		{"longer than its length", signed + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)-1, body), false, 401},
		{"header only", signed + "Content-Length: 10\r\n\r\n", false, 408},
		{"unknown method", "HOOK " + hook + " HTTP/1.1\r\nHost: x\r\n\r\n", false, 405},
		{"unknown method elsewhere", "HOOK / HTTP/1.1\r\nHost: x\r\n\r\n", false, 404},
		{"no path", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", false, 404},
		{"absolute path of another host", strings.Replace(head("Content-Length: 2\r\n\r\n{}"), "POST ", "POST http://other", 1), false, 401},
		{"a good one", signed + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body), false, 202},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn := w.dial(t)
			go func() { // an answer may come before everything is sent
				_, _ = io.WriteString(conn, tt.send)
				if tt.closeWrite {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			}()
			if got, text := answered(t, conn); got != tt.want {
				t.Errorf("answered %d %s, want %d", got, text, tt.want)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(w.store.all()); n != 1 {
			t.Errorf("%d events, want that of the good one", n)
		}
	})
}

// One byte now and then does not hold a connection longer than silence does.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *HooksConfig) { c.Limits.BodyTime = time.Second })
	conn := w.dial(t)
	begun := time.Now()
	if _, err := io.WriteString(conn, head("Content-Length: 1000\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	go func() {
		for range 100 {
			if _, err := io.WriteString(conn, " "); err != nil {
				return
			}
			<-time.After(50 * time.Millisecond)
		}
	}()
	status, _ := answered(t, conn)
	if took := time.Since(begun); status != 408 && status != 0 || took > 4*time.Second {
		t.Errorf("answered %d after %s", status, took)
	}
}

// Whoever leaves in the middle leaves nothing behind.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	before := runtime.NumGoroutine()
	for range 50 {
		conn := w.dial(t)
		if _, err := io.WriteString(conn, head("Content-Length: 100000\r\n\r\n{")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	eventually(t, "all posts end", func() bool {
		return w.metric(t, "tradewind_webhook_deliveries_total", "sender", "github", "result", "malformed") == 50
	})
	eventually(t, "their goroutines end", func() bool { return runtime.NumGoroutine() < before+40 })
	if len(w.store.all()) != 0 || strings.Contains(w.log.String(), `"level":"INFO"`) {
		t.Errorf("published %d, logged %s", len(w.store.all()), w.log.String())
	}
}

// Slow strangers do not keep an honest sender waiting (S7).
func TestSlowStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 600 { // more than may be in work
		conn := w.dial(t)
		if _, err := io.WriteString(conn, head("Content-Length: 20000000\r\n\r\n{")); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		begun := time.Now()
		if r := w.push(t, "refs/heads/main"); r.status != 202 || time.Since(begun) > time.Second {
			t.Errorf("answered %d after %s: %s", r.status, time.Since(begun), r.body)
		}
	}
}
