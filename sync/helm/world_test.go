package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/sync/helm"
)

// files is a chart: its files by name.
type files map[string]string

func chartFiles(version string, more files) files {
	f := files{
		"Chart.yaml":        "apiVersion: v2\nname: web\nversion: " + version + "\n",
		"values.yaml":       "colour: white\nsize: {wide: 1, high: 1}\n",
		"templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {colour: {{ .Values.colour }}}\n",
	}
	for name, content := range more {
		f[name] = content
	}
	return f
}

// pack makes an archive below the folder web; headers may be changed before they are
// written.
func (f files) pack(t *testing.T, change func(*tar.Header)) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "web/" + name, Mode: 0o644, Size: int64(len(f[name]))}
		if change != nil {
			change(h)
		}
		if err := archive.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := archive.Write([]byte(f[name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (f files) chart(t *testing.T) *helm.Chart {
	t.Helper()
	c, err := helm.FromArchive(f.pack(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// repository is a chart repository in this process.
type repository struct {
	*httptest.Server
	mu       sync.Mutex
	entries  string
	archives map[string][]byte
	requests []string // "path status login"
	password string   // wanted, when set
}

func startRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{archives: map[string][]byte{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, password, _ := req.BasicAuth()
	status := http.StatusOK
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(r.entries)))
	data, known := r.archives[req.URL.Path]
	switch {
	case r.password != "" && password != r.password:
		status = http.StatusUnauthorized
	case req.URL.Path == "/index.yaml" && req.Header.Get("If-None-Match") == etag:
		status = http.StatusNotModified
	case req.URL.Path == "/index.yaml":
		data = []byte("apiVersion: v1\nentries:\n  web:\n" + r.entries)
		w.Header().Set("ETag", etag)
	case !known:
		status = http.StatusNotFound
	}
	r.requests = append(r.requests, fmt.Sprintf("%s %d %s", req.URL.Path, status, password))
	w.WriteHeader(status)
	if status == http.StatusOK {
		_, _ = w.Write(data)
	}
}

// publish adds a version; its URL is relative unless given.
func (r *repository) publish(t *testing.T, version string, data []byte, url string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := sha256.Sum256(data)
	if url == "" {
		url = "web-" + version + ".tgz"
	}
	r.archives["/web-"+version+".tgz"] = data
	r.entries += fmt.Sprintf("  - {name: web, version: %q, digest: %s, urls: [%q]}\n", version, hex.EncodeToString(sum[:]), url)
}

// asked returns the requests since the last call.
func (r *repository) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.requests
	r.requests = nil
	return out
}

func (r *repository) host() string { return strings.TrimPrefix(r.URL, "http://") }

func (r *repository) charts() *helm.Charts {
	return helm.NewCharts(helm.Config{InsecureHosts: []string{r.host()}, Timeout: 20 * time.Second})
}
