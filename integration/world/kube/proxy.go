package kube

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Proxy stands between Tradewind and the API server and can answer in its place. It
// also counts, exactly, what Tradewind asks: nobody else goes through it.
type Proxy struct {
	Kubeconfig string

	server  *httptest.Server
	forward *httputil.ReverseProxy

	mu     sync.Mutex
	how    string
	cut    context.CancelFunc // ends every request that is under way
	open   context.Context
	counts map[Request]int
}

// Request is what the proxy counts by.
type Request struct{ Method, Resource string }

// The ways the proxy can misbehave.
const (
	FaultStatus   = "503"
	FaultDrop     = "drop" // closes the connection without an answer
	FaultTooMany  = "429"  // with Retry-After, as priority-and-fairness sends
	FaultConflict = "409"  // for writes; reads go through
)

// NewProxy starts a proxy before cluster and writes a kubeconfig that leads through the proxy.
func NewProxy(cluster *Cluster, dir string) (*Proxy, error) {
	target, err := url.Parse(cluster.rest.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(cluster.rest)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Kubeconfig: filepath.Join(dir, "kubeconfig-proxy"), counts: map[Request]int{}}
	p.open, p.cut = context.WithCancel(context.Background())
	p.forward = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // a watch is a stream
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(p)
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	p.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	p.server.StartTLS()
	return p, p.writeKubeconfig(cluster)
}

func (p *Proxy) writeKubeconfig(cluster *Cluster) error {
	config, err := clientcmd.LoadFromFile(cluster.Kubeconfig)
	if err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	for name := range config.Clusters {
		config.Clusters[name] = &clientcmdapi.Cluster{Server: p.server.URL, CertificateAuthorityData: ca}
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return os.WriteFile(p.Kubeconfig, data, 0o600)
}

// Break makes the proxy answer how; requests under way, watches too, are cut off.
func (p *Proxy) Break(how string) error {
	switch how {
	case FaultStatus, FaultDrop, FaultTooMany, FaultConflict:
	default:
		return fmt.Errorf("unknown fault %q: want 503, drop, 429 or 409", how)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.how = how
	p.cut()
	p.open, p.cut = context.WithCancel(context.Background())
	return nil
}

// Mend lets everything through again.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.how = ""
}

// Writes counts the writing requests that came through for resources that match.
func (p *Proxy) Writes(match func(Request) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for r, n := range p.counts {
		if r.Method != http.MethodGet && match(r) {
			sum += n
		}
	}
	return sum
}

// ServeHTTP forwards, or does what Break asked for.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	how, open := p.how, p.open
	if how == "" {
		p.counts[Request{r.Method, resourceOf(r.URL.Path)}]++
	}
	p.mu.Unlock()
	switch {
	case how == FaultDrop:
		panic(http.ErrAbortHandler)
	case how == FaultStatus:
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case how == FaultTooMany:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "TooManyRequests")
	case how == FaultConflict && r.Method != http.MethodGet:
		refuse(w, http.StatusConflict, "Conflict")
	default:
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(open, cancel)()
		p.forward.ServeHTTP(w, r.WithContext(ctx))
	}
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"broken on purpose","reason":%q,"code":%d}`, reason, code)
}

// resourceOf reads "deployments" or "applications/status" out of an API path.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	skip := 3 // apis/<group>/<version>
	if parts[0] == "api" {
		skip = 2
	}
	if len(parts) > skip+2 && parts[skip] == "namespaces" {
		skip += 2
	}
	if len(parts) <= skip {
		return ""
	}
	if rest := parts[skip:]; len(rest) > 2 {
		return rest[0] + "/" + rest[2]
	}
	return parts[skip]
}

// Stop ends it.
func (p *Proxy) Stop() {
	p.mu.Lock()
	p.cut()
	p.mu.Unlock()
	p.server.CloseClientConnections()
	p.server.Close()
}
