package bucket_test

import (
	"crypto/md5" //nolint:gosec // what object stores make ETags of
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tradewind-dev/tradewind/sync/bucket"
	"github.com/tradewind-dev/tradewind/sync/files"
)

// store is an object store with one bucket, "deploy", that lists a few keys a page.
type store struct {
	*httptest.Server
	host string

	mu      sync.Mutex // guards what follows
	objects map[string]string
	asked   []string
	access  string // the access key that may read; empty for anybody
}

const pageSize = 3

func newStore(t *testing.T, objects map[string]string) *store {
	t.Helper()
	s := &store{objects: objects}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.host = u.Host
	return s
}

func etag(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // see above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/deploy/")
	s.asked = append(s.asked, r.Method+" "+key)
	switch {
	case s.access != "" && !strings.Contains(r.Header.Get("Authorization"), "Credential="+s.access+"/"):
		refuse(w, http.StatusForbidden, "AccessDenied")
	case !strings.HasPrefix(r.URL.Path, "/deploy"):
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case r.URL.Query().Get("list-type") == "2":
		s.list(w, r.URL.Query())
	default:
		text, ok := s.objects[key]
		if !ok {
			refuse(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		if match := r.Header.Get("If-Match"); match != "" && strings.Trim(match, `"`) != strings.Trim(etag(text), `"`) {
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
			return
		}
		w.Header().Set("ETag", etag(text))
		http.ServeContent(w, r, key, time.Unix(1e9, 0), strings.NewReader(text))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>secret words</Message></Error>", code)
}

func (s *store) list(w http.ResponseWriter, q url.Values) {
	type object struct {
		Key, ETag    string
		Size         int
		LastModified string
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name                  string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []object
	}
	page.Name = "deploy"
	var keys []string
	for key := range s.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if len(keys) > pageSize {
		keys = keys[:pageSize]
		page.IsTruncated, page.NextContinuationToken = true, keys[pageSize-1]
	}
	for _, key := range keys {
		page.Contents = append(page.Contents, object{key, etag(s.objects[key]), len(s.objects[key]), "2026-01-02T03:04:05.000Z"})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(page)
}

func (s *store) set(key, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = text
}

func (s *store) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	slices.Sort(out)
	return out
}

func buckets(s *store, limits files.Limits) *bucket.Buckets {
	return bucket.New(bucket.Config{
		AllowedHosts: []string{s.host}, InsecureHosts: []string{s.host}, Setting: "git.allowedHosts", Timeout: 20 * time.Second, Limits: limits,
	})
}

func keys(t *testing.T, access string) bucket.Keys {
	t.Helper()
	k, err := bucket.KeysFromSecret(map[string][]byte{"accesskey": []byte(access), "secretkey": []byte("hidden")})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFetch(t *testing.T) {
	t.Parallel()
	s := newStore(t, map[string]string{
		"apps/a.yaml": "a: 1", "apps/b.yaml": "b: 1", "apps/sub/c.yaml": "c: 1", "apps/sub/d.yaml": "d: 1", "apps/empty/": "", "appsother/x": "x", "README": "r",
	})
	s.access = "AKIA"
	b := buckets(s, files.Limits{})
	src := bucket.Source{Endpoint: s.URL, Bucket: "deploy", Path: "apps", Provider: "generic", Keys: keys(t, "AKIA")}
	first, tree, err := b.Fetch(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "apps/a.yaml", "apps/b.yaml", "apps/sub/c.yaml", "apps/sub/d.yaml", "apps/empty"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(tree, "README"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not below the path was read: %v", err)
	}
	s.took()
	again, same, err := b.Fetch(t.Context(), src)
	if err != nil || again != first || same != tree {
		t.Errorf("unchanged: %q, %v; want %q and the same tree", again, err, first)
	}
	for _, asked := range s.took() {
		if asked != "GET " {
			t.Errorf("an unchanged bucket was asked for %q, more than its listing", asked)
		}
	}
	s.set("apps/b.yaml", "b: 2")
	next, tree, err := b.Fetch(t.Context(), src)
	if err != nil || next == first {
		t.Fatalf("changed: %q, %v; want another revision", next, err)
	}
	if text, err := fs.ReadFile(tree, "apps/b.yaml"); string(text) != "b: 2" || err != nil {
		t.Errorf("apps/b.yaml = %q, %v", text, err)
	}
	if asked := s.took(); !slices.Contains(asked, "GET apps/b.yaml") || slices.Contains(asked, "GET apps/a.yaml") {
		t.Errorf("asked %q, want only the changed object", asked)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := newStore(t, map[string]string{"p/a": "12345", "p/b": "12345", "p/c": "12345", "p/d": "12345", "q/../../x": "1", "r/.git/config": "1"})
	closed := newStore(t, map[string]string{"p/a": "1"})
	closed.access = "other"
	for name, c := range map[string]struct {
		server     *store
		limits     files.Limits
		src        bucket.Source
		want, hint string
	}{
		"bucket":   {s, files.Limits{}, bucket.Source{Endpoint: s.URL, Bucket: "absent", Path: "p"}, "NoSuchBucket (404)", "oss.bucketName"},
		"denied":   {closed, files.Limits{}, bucket.Source{Endpoint: closed.URL, Bucket: "deploy", Path: "p", Keys: keys(t, "me"), Secret: "n/s"}, "AccessDenied (403)", "Secret n/s"},
		"count":    {s, files.Limits{Entries: 3}, bucket.Source{Endpoint: s.URL, Bucket: "deploy", Path: "p"}, "more than 3 objects", "path of its own"},
		"size":     {s, files.Limits{Bytes: 12}, bucket.Source{Endpoint: s.URL, Bucket: "deploy", Path: "p"}, "MiB together", "path of its own"},
		"name":     {s, files.Limits{}, bucket.Source{Endpoint: s.URL, Bucket: "deploy", Path: "q"}, "leads out of the tree", ""},
		"git":      {s, files.Limits{}, bucket.Source{Endpoint: s.URL, Bucket: "deploy", Path: "r"}, "Git's own", ""},
		"plain":    {s, files.Limits{}, bucket.Source{Endpoint: "http://s3.example.com", Bucket: "deploy", Path: "p"}, "plain http", "insecureHosts"},
		"url":      {s, files.Limits{}, bucket.Source{Endpoint: "https://me:pw@s3.example.com/b", Bucket: "deploy", Path: "p"}, "no endpoint", "oss.bucketName"},
		"loopback": {s, files.Limits{}, bucket.Source{Endpoint: "https://127.0.0.1:1", Bucket: "deploy", Path: "p"}, "not allowed", "git.allowedHosts"},
	} {
		_, tree, err := buckets(c.server, c.limits).Fetch(t.Context(), c.src)
		e, ok := errors.AsType[*bucket.Error](err)
		if !ok || tree != nil || !strings.Contains(e.Error(), c.want) || !strings.Contains(e.Hint(), c.hint) {
			t.Errorf("%s: %v (%T), want %q with a hint with %q", name, err, err, c.want, c.hint)
			continue
		}
		if strings.Contains(e.Error(), "secret words") || strings.Contains(e.Error(), "pw") {
			t.Errorf("%s: %v repeats what it should not", name, e)
		}
	}
}

func TestKeysAreHidden(t *testing.T) {
	t.Parallel()
	k := keys(t, "AKIA")
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k)} {
		if strings.Contains(text, "AKIA") || strings.Contains(text, "hidden") {
			t.Errorf("keys print as %s", text)
		}
	}
	if _, err := bucket.KeysFromSecret(map[string][]byte{"accesskey": []byte("x")}); err == nil {
		t.Error("a Secret without secretkey was taken")
	}
}
