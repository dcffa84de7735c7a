package outbound_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strconv"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/sync/outbound"
)

func server(t *testing.T, handle http.HandlerFunc) (*httptest.Server, *outbound.Client) {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	return srv, outbound.New(outbound.Config{AllowedHosts: []string{"127.0.0.1"}})
}

func TestDo(t *testing.T) {
	t.Parallel()
	srv, client := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Content-Type"), body)
	})
	got, err := client.Do(t.Context(), outbound.Request{
		Method: "PUT", URL: srv.URL, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"a":1}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != http.StatusTeapot || got.Body != `PUT application/json {"a":1}` || got.Header.Get("X-Answer") != "yes" {
		t.Errorf("answer %+v", got)
	}
}

func TestDoRefusesWhatIsInside(t *testing.T) {
	t.Parallel()
	asked := false
	srv, _ := server(t, func(http.ResponseWriter, *http.Request) { asked = true })
	client := outbound.New(outbound.Config{})
	for _, target := range []string{srv.URL + "/?token=secret", "http://169.254.169.254/latest", "http://[::1]:80/"} {
		_, err := client.Do(t.Context(), outbound.Request{URL: target})
		if err == nil || !strings.Contains(err.Error(), "not allowed") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", target, err)
		}
	}
	if asked {
		t.Error("the server was asked")
	}
}

func TestDoBoundsAndDoesNotFollow(t *testing.T) {
	t.Parallel()
	srv, client := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 300<<10))
	})
	if _, err := client.Do(t.Context(), outbound.Request{URL: srv.URL}); err == nil || !strings.Contains(err.Error(), "more than 256 KiB") {
		t.Errorf("a large answer: %v", err)
	}
	got, err := client.Do(t.Context(), outbound.Request{URL: srv.URL + "/moved"})
	if err != nil || got.Status != http.StatusFound {
		t.Errorf("a redirect: %+v, %v", got, err)
	}
	if _, err := client.Do(t.Context(), outbound.Request{URL: "file:///etc/passwd"}); err == nil || err.Error() != "url: want http:// or https:// and a host" {
		t.Errorf("a file: %v", err)
	}
}

// smtpServer takes one message and hands it out.
func smtpServer(t *testing.T) (port int, got <-chan string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	out := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
		say("220 ready")
		var all strings.Builder
		data := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			all.WriteString(line + "\n")
			switch {
			case data && line == ".":
				data = false
				say("250 taken")
			case data:
			case strings.HasPrefix(line, "EHLO"):
				say("250-here\r\n250 AUTH PLAIN")
			case strings.HasPrefix(line, "AUTH"):
				say("235 welcome")
			case line == "DATA":
				data = true
				say("354 go on")
			case line == "QUIT":
				say("221 bye")
				out <- all.String()
				return
			default:
				say("250 fine")
			}
		}
	}()
	_, text, _ := net.SplitHostPort(ln.Addr().String())
	port, _ = strconv.Atoi(text)
	return port, out
}

func TestSend(t *testing.T) {
	t.Parallel()
	port, got := smtpServer(t)
	client := outbound.New(outbound.Config{AllowedHosts: []string{"127.0.0.1"}})
	err := client.Send(t.Context(), outbound.Mail{
		From: mail.Address{Name: "Bot", Address: "bot@example.com"}, Password: "secret", Host: "127.0.0.1", Port: port,
		To: []string{"a@example.com", "b@example.com"}, Subject: "done\r\nBcc: evil@example.com", Body: "<b>well</b>\nand good",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := <-got
	for _, want := range []string{"MAIL FROM:<bot@example.com>", "RCPT TO:<b@example.com>", `From: "Bot" <bot@example.com>`, "Content-Type: text/html", "<b>well</b>\nand good"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nBcc:") {
		t.Errorf("a header was smuggled in:\n%s", text)
	}
}

func TestSendRefusesWhatIsInside(t *testing.T) {
	t.Parallel()
	port, _ := smtpServer(t)
	err := outbound.New(outbound.Config{}).Send(t.Context(), outbound.Mail{Host: "127.0.0.1", Port: port, To: []string{"a@example.com"}})
	if err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("error %v", err)
	}
}
