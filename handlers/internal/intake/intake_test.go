package intake

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func request(body io.Reader, length int64) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.ContentLength = length
	return r
}

func TestRead(t *testing.T) {
	t.Parallel()
	in := New(64<<20, time.Minute, 10)
	const limit = 9 << 20
	for _, n := range []int{0, 1, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, 1<<20 + 1, 8 << 20, 8<<20 + 1, limit - 1, limit} {
		for _, length := range []int64{int64(n), -1} {
			want := bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
			b, err := in.Read(httptest.NewRecorder(), request(bytes.NewReader(want), length), limit)
			pieces := bytes.Join(b.Pieces(), nil)
			whole, werr := b.Whole()
			if err != nil || werr != nil || b.Len() != n || !bytes.Equal(pieces, want) || !bytes.Equal(whole, want) {
				t.Errorf("%d bytes, length %d: %d read, %v, %v", n, length, b.Len(), err, werr)
			}
			b.Release()
			b.Release() // harmless
		}
	}
	if small, large := in.small.Load(), in.large.Load(); small != 16<<20 || large != 48<<20 {
		t.Errorf("left: %d and %d bytes", small, large)
	}
	if n := in.reading.Load(); n != 0 {
		t.Errorf("%d bodies are still read", n)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	in := New(8<<20, time.Minute, 10)
	b, err := in.Read(httptest.NewRecorder(), request(strings.NewReader(strings.Repeat("x", 1001)), -1), 1000)
	if long, ok := errors.AsType[*http.MaxBytesError](err); !ok || long.Limit != 1000 {
		t.Errorf("above the limit: %v", err)
	}
	b.Release()
	broken := io.MultiReader(strings.NewReader("x"), iotestErr{io.ErrUnexpectedEOF})
	b, err = in.Read(httptest.NewRecorder(), request(broken, 10), 1000)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
	b.Release()
	if in.small.Load() != 2<<20 {
		t.Error("memory is missing")
	}
}

type iotestErr struct{ err error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.err }

// endless never ends, and tells when it was read.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Big bodies fill what there is for them and no more; small ones still come through.
func TestBudget(t *testing.T) {
	t.Parallel()
	in := New(16<<20, time.Minute, 100)
	var held []*Body
	refused := false
	for range 10 {
		b, err := in.Read(httptest.NewRecorder(), request(io.LimitReader(endless{}, 3<<20), -1), 25<<20)
		if errors.Is(err, ErrMemory) {
			refused = true
			b.Release()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, b)
	}
	if !refused || len(held) == 0 {
		t.Fatalf("refused: %v, held: %d", refused, len(held))
	}
	b, err := in.Read(httptest.NewRecorder(), request(io.LimitReader(endless{}, 30<<10), -1), 25<<20)
	if err != nil {
		t.Errorf("a small one beside them: %v", err)
	}
	b.Release()
	for _, b := range held {
		b.Release()
	}
	if b, err = in.Read(httptest.NewRecorder(), request(io.LimitReader(endless{}, 8<<20), -1), 25<<20); err != nil {
		t.Errorf("a big one after them: %v", err)
	}
	if _, err := b.Whole(); !errors.Is(err, ErrMemory) { // 8 MiB once more do not fit into 12
		t.Errorf("in one: %v", err)
	}
	b.Release()
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	in := New(1<<20, time.Minute, 1)
	blocked, w := io.Pipe()
	done := make(chan error)
	go func() {
		b, err := in.Read(httptest.NewRecorder(), request(blocked, -1), 100)
		b.Release()
		done <- err
	}()
	if _, err := w.Write([]byte("x")); err != nil { // it is being read now
		t.Fatal(err)
	}
	b, err := in.Read(httptest.NewRecorder(), request(strings.NewReader("x"), 1), 100)
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("the second: %v", err)
	}
	b.Release()
	w.Close()
	if err := <-done; err != nil {
		t.Errorf("the first: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	in := New(1<<20, 30*time.Second, 1)
	begun := time.Now()
	for have, want := range map[int]time.Duration{0: 5 * time.Second, 64 << 10: 6 * time.Second, 640 << 10: 15 * time.Second, 25 << 20: 30 * time.Second} {
		if got := in.deadline(begun, have).Sub(begun); got != want {
			t.Errorf("after %d bytes: %s, want %s", have, got, want)
		}
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		proxies    []netip.Prefix
		want       string
	}{
		{"direct", "192.0.2.1:1234", nil, proxies, "192.0.2.1"},
		{"direct, claiming", "192.0.2.1:1234", []string{"203.0.113.9"}, proxies, "192.0.2.1"},
		{"no proxies", "10.0.0.1:1234", []string{"203.0.113.9"}, nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1:1234", []string{"192.0.2.1"}, proxies, "192.0.2.1"},
		{"one proxy, claiming", "10.0.0.1:1234", []string{"203.0.113.9, 192.0.2.1"}, proxies, "192.0.2.1"},
		{"claiming to be a proxy", "10.0.0.1:1234", []string{"203.0.113.9, 10.0.0.7, 192.0.2.1"}, proxies, "192.0.2.1"},
		{"two proxies", "10.0.0.1:1234", []string{"192.0.2.1, 10.0.0.2"}, proxies, "192.0.2.1"},
		{"two headers", "10.0.0.1:1234", []string{"203.0.113.9", "192.0.2.1"}, proxies, "192.0.2.1"},
		{"nothing forwarded", "10.0.0.1:1234", nil, proxies, "10.0.0.1"},
		{"rubbish", "10.0.0.1:1234", []string{"192.0.2.1, x"}, proxies, "10.0.0.1"},
		{"IPv6", "[fd00::1]:1234", []string{"2001:db8::1"}, proxies, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1234", []string{"::ffff:192.0.2.1"}, proxies, "192.0.2.1"},
		{"no address", "@", []string{"192.0.2.1"}, proxies, "invalid IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
			if got := Client(r, tt.proxies).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
