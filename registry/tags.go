package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The limits of a listing.
const (
	maxPages    = 1000
	maxTags     = 200_000
	maxListing  = 32 << 20
	listTimeout = 5 * time.Minute
	pageSize    = "1000"
)

// Known is what a registry said of a listing, to ask next time only for a newer one. The
// zero Known asks for the listing anyway.
type Known struct{ ETag, LastModified string }

// Listing is the tags of an image, in the registry's order.
type Listing struct {
	Tags []string
	// Known is zero when the registry cannot tell whether the listing changed: what it
	// says of the first of several pages says nothing of the others.
	Known Known
	// Unchanged: the listing is still the one that the caller knows; Tags is nil.
	Unchanged bool
}

// Tags lists the tags of an image, unless the listing is still the known one.
func (c *Client) Tags(ctx context.Context, image Image, keys Keychain, known Known) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	l := &lister{client: c, budget: maxListing, seen: map[string]bool{}}
	l.request = request{op: "listing tags of", image: image, keys: keys, method: http.MethodGet, client: c.strict}
	l.request.url = c.endpoint(image, "/tags/list")
	l.request.url.RawQuery = "n=" + pageSize
	l.request.header = http.Header{"Accept": {"application/json"}}
	if known.ETag != "" {
		l.request.header.Set("If-None-Match", known.ETag)
	}
	if known.LastModified != "" {
		l.request.header.Set("If-Modified-Since", known.LastModified)
	}
	var out Listing
	for page := 0; l.request.url != nil; page++ {
		if page == maxPages {
			return Listing{}, l.request.wrong(TooLarge, fmt.Sprintf("more than %d pages", maxPages), nil)
		}
		answer, err := l.next(ctx)
		if err != nil {
			return Listing{}, err
		}
		if answer.Unchanged {
			if page > 0 || known == (Known{}) {
				return Listing{}, l.request.wrong(Malformed, "a page that nobody knew is unchanged", nil)
			}
			return Listing{Known: known, Unchanged: true}, nil
		}
		out.Tags = append(out.Tags, answer.Tags...)
		if len(out.Tags) > maxTags {
			return Listing{}, l.request.wrong(TooLarge, fmt.Sprintf("more than %d tags", maxTags), nil)
		}
		if page == 0 && l.request.url == nil {
			out.Known = answer.Known
		}
		l.request.header.Del("If-None-Match")
		l.request.header.Del("If-Modified-Since")
	}
	return out, nil
}

// lister walks the pages of one listing.
type lister struct {
	client  *Client
	request request // url is that of the next page, nil after the last
	budget  int64   // bytes left for all pages
	seen    map[string]bool
}

// next asks for a page and moves on to the one after it.
func (l *lister) next(ctx context.Context) (Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	l.seen[l.request.url.String()] = true
	resp, err := l.client.do(ctx, &l.request)
	if err != nil {
		return Listing{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		l.request.url = nil
		return Listing{Unchanged: true}, nil
	}
	body := &io.LimitedReader{R: resp.Body, N: l.budget + 1}
	tags, err := decodeTags(body)
	if l.budget = body.N - 1; l.budget < 0 {
		return Listing{}, l.request.wrong(TooLarge, fmt.Sprintf("more than %d MiB", maxListing>>20), nil)
	}
	if err != nil {
		return Listing{}, l.request.unread(ctx, "its list of tags", err)
	}
	if err := l.advance(resp.Header.Values("Link")); err != nil {
		return Listing{}, err
	}
	return Listing{Tags: tags, Known: Known{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}}, nil
}

// unread is an answer that broke off or makes no sense.
func (r *request) unread(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return r.failed(ctx.Err())
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return r.wrong(Unavailable, what+" broke off", err)
	}
	return r.wrong(Malformed, what, err)
}

// advance sets the URL of the page after this one.
func (l *lister) advance(links []string) error {
	target := nextLink(links)
	if target == "" {
		l.request.url = nil
		return nil
	}
	next, err := l.request.url.Parse(target)
	if err != nil {
		return l.request.wrong(Malformed, "its link to the next page", err)
	}
	if next.Scheme != l.request.url.Scheme || next.Host != l.request.url.Host || next.User != nil || !strings.HasPrefix(next.Path, "/v2/") {
		return l.request.wrong(Malformed, "its next page is elsewhere", &RedirectError{From: l.request.url.Host, To: next.Host})
	}
	next.Fragment = ""
	if l.seen[next.String()] {
		return l.request.wrong(Malformed, "its pages go round in a circle", nil)
	}
	l.request.url = next
	return nil
}

// nextLink finds the target of rel="next" (RFC 8288).
func nextLink(headers []string) string {
	for _, header := range headers {
		for link := range strings.SplitSeq(header, ",") {
			target, params, ok := strings.Cut(link, ">")
			_, target, open := strings.Cut(target, "<")
			if !ok || !open {
				continue
			}
			for param := range strings.SplitSeq(params, ";") {
				if p := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(param), " ", "")); p == `rel="next"` || p == "rel=next" {
					return target
				}
			}
		}
	}
	return ""
}

// decodeTags reads {"tags": [...]}. The reader is bounded; so is, through it, the memory.
func decodeTags(r io.Reader) ([]string, error) {
	var answer struct {
		Tags []string `json:"tags"`
	}
	err := json.NewDecoder(r).Decode(&answer)
	return answer.Tags, err
}
