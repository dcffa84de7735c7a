package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"regexp"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// outside is what steps reach beside the cluster: an HTTP server that takes everything,
// answers 500 below /broken and like Prometheus at /api/v1/query, and a mail server.
type outside struct {
	web  *httptest.Server
	mail net.Listener

	mu       sync.Mutex
	received []message
	metric   string
}

// message is what somebody sent: to a path, or to "mail".
type message struct{ to, text string }

// startOutside: outside. Sets $OUTSIDE_URL and $MAIL_PORT.
func startOutside(_ context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(0, 0, "outside"); err != nil || s.outside != nil {
		return errors.Join(err, errIf(s.outside != nil, usage("outside, once in a story")))
	}
	mail, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of the story, closed at its end
	if err != nil {
		return err
	}
	o := &outside{mail: mail}
	o.web = httptest.NewServer(http.HandlerFunc(o.serve))
	go o.serveMail()
	ts.Defer(func() {
		o.web.Close()
		_ = o.mail.Close()
	})
	s.outside = o
	_, port, err := net.SplitHostPort(mail.Addr().String())
	ts.Setenv("OUTSIDE_URL", o.web.URL)
	ts.Setenv("MAIL_PORT", port)
	return err
}

func errIf(wrong bool, err error) error {
	if wrong {
		return err
	}
	return nil
}

func (o *outside) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\n", r.Method, r.URL.RequestURI())
	_ = r.Header.Write(&text)
	text.WriteString("\n" + string(body))
	o.note(message{r.URL.Path, text.String()})
	switch {
	case strings.HasPrefix(r.URL.Path, "/broken"):
		w.WriteHeader(http.StatusInternalServerError)
	case r.URL.Path == "/api/v1/query":
		o.mu.Lock()
		defer o.mu.Unlock()
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000.1,%q]}]}}`, o.metric)
	default:
		_, _ = io.WriteString(w, `{"said":"thanks"}`)
	}
}

func (o *outside) note(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received = append(o.received, m)
}

func (o *outside) serveMail() {
	for {
		conn, err := o.mail.Accept()
		if err != nil {
			return
		}
		go o.takeMail(textproto.NewConn(conn))
	}
}

// takeMail speaks as much SMTP as it takes to be sent one message.
func (o *outside) takeMail(conn *textproto.Conn) {
	defer func() { _ = conn.Close() }()
	err := conn.PrintfLine("220 outside")
	for err == nil {
		var line string
		if line, err = conn.ReadLine(); err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "EHLO":
			err = conn.PrintfLine("250-outside\r\n250 AUTH PLAIN")
		case "AUTH":
			err = conn.PrintfLine("235 welcome")
		case "DATA":
			if err = conn.PrintfLine("354 go on"); err != nil {
				return
			}
			var text []byte
			if text, err = conn.ReadDotBytes(); err != nil {
				return
			}
			o.note(message{"mail", string(text)})
			err = conn.PrintfLine("250 taken")
		case "QUIT":
			_ = conn.PrintfLine("221 bye")
			return
		default:
			err = conn.PrintfLine("250 fine")
		}
	}
}

// awaitReceived: [!] received <path|mail> [<regexp>]. A message to there has come, with !
// has not come up to now; requests are matched with their method and headers.
func awaitReceived(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if len(c.args) < 1 || len(c.args) > 2 || s.outside == nil {
		return usage("[!] received <path|mail> [<regexp>], after outside")
	}
	re, err := regexp.Compile("(?s)" + strings.Join(c.args[1:], ""))
	if err != nil {
		return err
	}
	look := func() error {
		s.outside.mu.Lock()
		defer s.outside.mu.Unlock()
		var others []string
		for _, m := range s.outside.received {
			if m.to == c.args[0] && re.MatchString(m.text) {
				return nil
			}
			others = append(others, m.to+": "+m.text)
		}
		return fmt.Errorf("not received; there came:\n%s", strings.Join(others, "\n"))
	}
	if !c.neg {
		return s.alive(poll(ctx, look))
	}
	return errIf(look() == nil, fmt.Errorf("%s did receive it", c.args[0]))
}

// setMetric: metric <number>. What every query of Prometheus gives from now on.
func setMetric(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 1, "metric <number>"); err != nil || s.outside == nil {
		return errors.Join(err, errIf(s.outside == nil, usage("metric <number>, after outside")))
	}
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	s.outside.metric = c.args[0]
	return nil
}
