// Package bucket reads files from buckets of S3-compatible object stores: in goes a bucket
// with a path in it, out comes what lies below the path as a file system, with a revision
// that changes when any of it does.
//
// It promises that a look at a bucket that did not change costs one listing, that only
// objects whose ETag is new are read, that all of it stays within [files.Limits], and that
// a credential goes to the endpoint it was given for. It refuses plain HTTP but for listed
// hosts, redirects, and credentials from anywhere but the caller.
//
// It is the only user of an object store's client.
package bucket

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/tradewind-dev/tradewind/sync/files"
	"github.com/tradewind-dev/tradewind/sync/guard"
)

// Config says which object stores may be reached.
type Config struct {
	// AllowedHosts (host or host:port) and AllowedRanges may be private or loopback;
	// Setting is where they were configured, for hints.
	AllowedHosts  []string
	AllowedRanges []netip.Prefix
	Setting       string
	// InsecureHosts (host or host:port) are spoken to over plain HTTP.
	InsecureHosts []string
	// Timeout bounds one look. Default 60 s.
	Timeout time.Duration
	Limits  files.Limits
}

// ProviderAWS is the provider whose regions are asked for when none is given.
const ProviderAWS = "aws"

// Source is a path in a bucket.
type Source struct {
	Endpoint string // https://host[:port], or host[:port]
	Bucket   string
	Path     string // clean, "." for all
	Provider string
	Region   string
	Keys     Keys
	Secret   string // namespace/name the Keys came from; only for hints
}

// Keys is one credential; the zero Keys is anonymous. It prints as ***.
type Keys struct{ access, secret, token string }

func (k Keys) String() string { return "***" }

// GoString keeps keys out of %#v.
func (k Keys) GoString() string { return "***" }

func (k Keys) fingerprint() [sha256.Size]byte {
	return sha256.Sum256([]byte(k.access + "\x00" + k.secret + "\x00" + k.token))
}

// KeysFromSecret reads accesskey and secretkey of a Secret's data, and sessiontoken where
// there is one.
func KeysFromSecret(data map[string][]byte) (Keys, error) {
	k := Keys{access: string(data["accesskey"]), secret: string(data["secretkey"]), token: string(data["sessiontoken"])}
	if k.access == "" || k.secret == "" {
		return Keys{}, errors.New("it has no accesskey and secretkey")
	}
	return k, nil
}

// Buckets reads buckets and keeps what it read last. It is safe for concurrent use.
type Buckets struct {
	cfg       Config
	transport http.RoundTripper

	mu   sync.Mutex // guards kept
	kept map[place]*kept
}

const (
	maxAnswer = 64 << 20 // bytes of one answer
	atOnce    = 8        // objects of one bucket
	// headerTimeout is for a server that takes the request and says nothing.
	headerTimeout = 15 * time.Second
)

// New returns Buckets that know nothing yet.
func New(cfg Config) *Buckets {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	transport := &http.Transport{
		DialContext:            guard.New(cfg.Setting, cfg.AllowedHosts, cfg.AllowedRanges).Dial,
		TLSHandshakeTimeout:    guard.Timeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    atOnce,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
	}
	return &Buckets{cfg: cfg, transport: bounded{transport}, kept: map[place]*kept{}}
}

// bounded cuts answers off that nobody could want.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Fetch returns the files below the source's path as they are now, and their revision.
func (b *Buckets) Fetch(ctx context.Context, src Source) (revision string, tree fs.FS, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	f := &fetch{Buckets: b, src: src}
	if err := f.connect(); err != nil {
		return "", nil, f.failed(err)
	}
	objects, err := f.list(ctx)
	if err != nil {
		return "", nil, f.failed(err)
	}
	revision = revisionOf(objects)
	at := place{f.endpoint, src.Bucket, src.Path, src.Region, src.Keys.fingerprint()}
	known := b.known(at)
	if known != nil && known.revision == revision {
		return revision, known.tree, nil
	}
	next := &kept{revision: revision, etags: map[string]string{}}
	if next.tree, err = f.read(ctx, objects, known); err != nil {
		return "", nil, f.failed(err)
	}
	for _, o := range objects {
		next.etags[o.Key] = o.ETag
	}
	b.keep(at, next)
	return revision, next.tree, nil
}

// fetch is one look at a bucket.
type fetch struct {
	*Buckets
	src      Source
	endpoint string
	client   *minio.Client
}

func (f *fetch) connect() error {
	host, secure, err := endpointOf(f.src.Endpoint, f.cfg.InsecureHosts)
	if err != nil {
		return err
	}
	region := f.src.Region
	if region == "" && f.src.Provider != ProviderAWS {
		region = "us-east-1" // what stores without regions take; saves asking
	}
	f.endpoint = host
	f.client, err = minio.New(host, &minio.Options{
		Creds:  credentials.NewStaticV4(f.src.Keys.access, f.src.Keys.secret, f.src.Keys.token),
		Secure: secure, Region: region, Transport: f.transport, MaxRetries: 2,
	})
	return err
}

// list gives the objects below the path, sorted by key.
func (f *fetch) list(ctx context.Context) ([]minio.ObjectInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when there is too much of it
	options := minio.ListObjectsOptions{Recursive: true}
	if f.src.Path != "." && f.src.Path != "" {
		options.Prefix = f.src.Path + "/"
	}
	limits := f.limits()
	var objects []minio.ObjectInfo
	var size int64
	for o := range f.client.ListObjects(ctx, f.src.Bucket, options) {
		if o.Err != nil {
			return nil, o.Err
		}
		if !strings.HasPrefix(o.Key, options.Prefix) {
			return nil, fmt.Errorf("the store lists %.100q, which is not below %s", o.Key, f.src.Path)
		}
		if objects = append(objects, o); len(objects) > limits.Entries {
			return nil, &files.Error{Reason: fmt.Sprintf("more than %d objects below %s", limits.Entries, f.src.Path)}
		}
		if size += o.Size; size > limits.Bytes {
			return nil, &files.Error{Reason: fmt.Sprintf("the objects below %s have more than %d MiB together", f.src.Path, limits.Bytes>>20)}
		}
	}
	slices.SortFunc(objects, func(a, b minio.ObjectInfo) int { return cmp.Compare(a.Key, b.Key) })
	return objects, ctx.Err()
}

func (f *fetch) limits() files.Limits {
	return files.Limits{Bytes: cmp.Or(f.cfg.Limits.Bytes, 64<<20), Entries: cmp.Or(f.cfg.Limits.Entries, 10_000)}
}

func revisionOf(objects []minio.ObjectInfo) string {
	sum := sha256.New()
	for _, o := range objects {
		fmt.Fprintf(sum, "%q %q %d\n", o.Key, o.ETag, o.Size)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// read gets the objects that are not known with their ETag.
func (f *fetch) read(ctx context.Context, objects []minio.ObjectInfo, known *kept) (*files.Tree, error) {
	contents := make([][]byte, len(objects))
	gets, ctx := errgroup.WithContext(ctx)
	gets.SetLimit(atOnce)
	for i, o := range objects {
		if strings.HasSuffix(o.Key, "/") {
			continue
		}
		if known != nil && o.ETag != "" && known.etags[o.Key] == o.ETag {
			if data, err := known.tree.ReadFile(o.Key); err == nil {
				contents[i] = data
				continue
			}
		}
		gets.Go(func() error {
			var err error
			contents[i], err = f.get(ctx, o)
			return err
		})
	}
	if err := gets.Wait(); err != nil {
		return nil, err
	}
	tree := files.New(f.cfg.Limits)
	for i, o := range objects {
		add := func() error { return tree.Add(o.Key, contents[i]) }
		if strings.HasSuffix(o.Key, "/") { // what consoles make for an empty folder
			add = func() error { return tree.Mkdir(o.Key) }
		}
		if err := add(); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// get reads one object as it was listed.
func (f *fetch) get(ctx context.Context, o minio.ObjectInfo) ([]byte, error) {
	var options minio.GetObjectOptions
	if o.ETag != "" {
		if err := options.SetMatchETag(o.ETag); err != nil {
			return nil, err
		}
	}
	object, err := f.client.GetObject(ctx, f.src.Bucket, o.Key, options)
	if err != nil {
		return nil, err
	}
	defer object.Close() // only read
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(object, o.Size+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) != o.Size {
		return nil, fmt.Errorf("object %.100q has not the size it was listed with", o.Key)
	}
	return data.Bytes(), nil
}
