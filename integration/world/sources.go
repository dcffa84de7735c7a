package world

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/md5" //nolint:gosec // what object stores make ETags of
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

// BucketKey is the access key that the object store takes; its secret is not looked at.
const BucketKey = "AKIAWORLD"

// startStore is an S3-compatible object store: each folder in dir is a bucket.
func (w *World) startStore(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	store, err := serve(ctx, objectStore{os.DirFS(dir)})
	if err != nil {
		return err
	}
	w.Store, w.StoreDir = store.url, dir
	w.stops = append(w.stops, func(context.Context) error { return store.stop() })
	return nil
}

// allowSources adds what Tradewind needs to know of the world's sources that are not Git.
func (w *World) allowSources(config map[string]any) error {
	root, err := proc.Root()
	if err != nil {
		return err
	}
	block, _ := config["git"].(map[string]any)
	for _, key := range []string{"allowedHosts", "insecureHosts"} {
		list, _ := block[key].([]string)
		block[key] = append(list, hostOf(w.Store))
	}
	config["render"] = map[string]any{"sopsBinary": cmp.Or(os.Getenv("TRADEWIND_SOPS"), filepath.Join(root, "bin", "tradewind-sops"))}
	return nil
}

// objectStore answers listings and reads, to those who sign with BucketKey.
type objectStore struct{ files fs.FS }

type storedObject struct {
	Key, ETag, LastModified string
	Size                    int
}

func (s objectStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	files, err := fs.Sub(s.files, bucket)
	switch _, statErr := fs.Stat(s.files, bucket); {
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+BucketKey+"/"):
		refuseObject(w, http.StatusForbidden, "InvalidAccessKeyId")
	case err != nil || statErr != nil:
		refuseObject(w, http.StatusNotFound, "NoSuchBucket")
	case r.URL.Query().Get("list-type") == "2":
		listObjects(w, files, r.URL.Query().Get("prefix"))
	default:
		data, err := fs.ReadFile(files, key)
		if err != nil {
			refuseObject(w, http.StatusNotFound, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", etagOf(data))
		http.ServeContent(w, r, key, time.Unix(1e9, 0), bytes.NewReader(data))
	}
}

func refuseObject(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

func etagOf(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func listObjects(w http.ResponseWriter, files fs.FS, prefix string) {
	var page struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []storedObject
	}
	err := fs.WalkDir(files, ".", func(key string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(key, prefix) {
			return err
		}
		data, err := fs.ReadFile(files, key)
		page.Contents = append(page.Contents, storedObject{key, etagOf(data), "2026-01-02T03:04:05.000Z", len(data)})
		return err
	})
	if err != nil {
		refuseObject(w, http.StatusInternalServerError, "InternalError")
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(page)
}

// ArchiveOf packs the files of dir as "flux push artifact" does.
func ArchiveOf(dir string) ([]byte, error) { return archiveOf(os.DirFS(dir)) }

func archiveOf(files fs.FS) ([]byte, error) {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	if err := errors.Join(archive.AddFS(files), archive.Close(), packed.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
