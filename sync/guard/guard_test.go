package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	g := New("git.allowedHosts", []string{"Git.Local", "[::1]:3000", "10.9.9.9"}, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16")})
	for _, test := range []struct {
		host, port, addr string
		want             string
	}{
		{"github.com", "443", "140.82.121.4", ""},
		{"github.com", "443", "2606:50c0:8000::64", ""},
		{"git.local", "443", "10.0.0.1", ""},
		{"::1", "3000", "::1", ""},
		{"::1", "3001", "::1", "::1 is at ::1, an address that is not allowed"},
		{"any", "443", "10.1.2.3", ""},
		{"any", "443", "10.2.2.3", "any is at 10.2.2.3, an address that is not allowed"},
		{"any", "443", "127.0.0.1", "any is at 127.0.0.1, an address that is not allowed"},
		{"any", "443", "192.168.1.1", "any is at 192.168.1.1, an address that is not allowed"},
		{"any", "443", "172.31.0.1", "any is at 172.31.0.1, an address that is not allowed"},
		{"any", "443", "100.64.0.1", "any is at 100.64.0.1, an address that is not allowed"},
		{"any", "443", "0.1.2.3", "any is at 0.1.2.3, an address that is not allowed"},
		{"any", "443", "fd00::1", "any is at fd00::1, an address that is not allowed"},
		{"any", "443", "64:ff9b::7f00:1", "any is at 127.0.0.1, an address that is not allowed"},
		{"any", "443", "2002:7f00:1::", "any is at 127.0.0.1, an address that is not allowed"},
		// never, whatever the configuration says
		{"git.local", "443", "169.254.169.254", "git.local is at 169.254.169.254, an address that is not allowed"},
		{"git.local", "443", "fe80::1", "git.local is at fe80::1, an address that is not allowed"},
		{"git.local", "443", "fd00:ec2::254", "git.local is at fd00:ec2::254, an address that is not allowed"},
		{"git.local", "443", "64:ff9b::a9fe:a9fe", "git.local is at 169.254.169.254, an address that is not allowed"},
		{"git.local", "443", "224.0.0.1", "git.local is at 224.0.0.1, an address that is not allowed"},
		{"git.local", "443", "0.0.0.0", "git.local is at 0.0.0.0, an address that is not allowed"},
	} {
		got := ""
		if err := g.check(test.host, test.port, netip.MustParseAddr(test.addr).Unmap()); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:%s at %s: %q, want %q", test.host, test.port, test.addr, got, test.want)
		}
	}
}

// A name that answers differently the second time is asked once only; the canary on
// loopback sees no connection.
func TestDialResolvesOnce(t *testing.T) {
	t.Parallel()
	canary, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer canary.Close()
	_, port, _ := net.SplitHostPort(canary.Addr().String())
	asked := 0
	g := New("git.allowedHosts", nil, nil)
	g.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		asked++
		if asked == 1 {
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("10.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
	}
	_, err = g.Dial(t.Context(), "tcp", net.JoinHostPort("rebind.example", port))
	var blocked *BlockedError
	if !errors.As(err, &blocked) || blocked.Host != "rebind.example" || asked != 1 {
		t.Errorf("Dial: %v after %d lookups", err, asked)
	}
	if blocked.Hint() != "list rebind.example:"+port+" under git.allowedHosts when it is meant to be inside" {
		t.Errorf("hint: %s", blocked.Hint())
	}
	_ = canary.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := canary.Accept(); err == nil {
		conn.Close()
		t.Error("the canary was connected to")
	}

	allowed := New("git.allowedHosts", []string{"rebind.example"}, nil)
	allowed.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	_ = canary.(*net.TCPListener).SetDeadline(time.Time{})
	conn, err := allowed.Dial(t.Context(), "tcp", net.JoinHostPort("rebind.example", port))
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); got != canary.Addr().String() {
		t.Errorf("connected to %s", got)
	}
	conn.Close()
}

func TestLimitsGiveSlotsBack(t *testing.T) {
	t.Parallel()
	l := NewLimits(1000, 1)
	leave, err := l.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.Enter(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second at once: %v, want to wait", err)
	}
	if other, err := l.Enter(t.Context(), "b"); err != nil {
		t.Errorf("another host waits: %v", err)
	} else {
		other()
	}
	leave()
	leave()
	// A slot whose owner forgot it comes back with the end of its context.
	forgotten, end := context.WithCancel(t.Context())
	if _, err := l.Enter(forgotten, "a"); err != nil {
		t.Fatal(err)
	}
	end()
	soon, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if _, err := l.Enter(soon, "a"); err != nil {
		t.Fatal(err)
	}
	slow := NewLimits(0.001, 1)
	free, err := slow.Enter(t.Context(), "a") // the burst
	if err != nil {
		t.Fatal(err)
	}
	free()
	if _, err := slow.Enter(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("over the rate: %v", err)
	}
}
