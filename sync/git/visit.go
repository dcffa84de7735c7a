package git

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
	"github.com/tradewind-dev/tradewind/sync/git/internal/remote"
)

// visit is one caller's turn at a mirror.
type visit struct {
	*mirror
	src     Source
	ticket  uint64
	session remote.Session
}

// visit waits for the turn.
func (mi *mirror) visit(ctx context.Context, src Source) (*visit, error) {
	v := &visit{mirror: mi, src: src, ticket: mi.begun.Load()}
	mi.waiting.Add(1)
	select {
	case mi.turn <- struct{}{}:
		return v, nil
	case <-ctx.Done():
		mi.waiting.Add(-1)
		return nil, ctx.Err()
	}
}

func (v *visit) leave() {
	v.closeSession()
	if v.waiting.Add(-1) == 0 {
		v.last = listing{} // nobody to share it with; it may be large
	}
	<-v.turn
}

func (v *visit) closeSession() {
	if v.session != nil {
		_ = v.session.Close()
		v.session = nil
	}
}

// refs returns a listing that began after the caller arrived: one that another caller
// made while this one waited, or a new one.
func (v *visit) refs(ctx context.Context) (Refs, error) {
	if v.last.number > v.ticket {
		return v.last.refs, v.last.err
	}
	return v.list(ctx)
}

func (v *visit) list(ctx context.Context) (Refs, error) {
	number := v.begun.Add(1)
	refs, err := v.ask(ctx)
	if err != nil {
		err = newError("listing", v.src, v.name, err)
	}
	if ctx.Err() != nil {
		return refs, err // our own end says nothing to others
	}
	v.last = listing{number: number, refs: refs, err: err, failed: map[Commit]error{}}
	return refs, err
}

func (v *visit) ask(ctx context.Context) (_ Refs, err error) {
	defer v.m.metrics.time("list")(&err)
	v.closeSession()
	session, err := v.m.dialer.Open(ctx, v.ep, v.src.Auth)
	if err != nil {
		return Refs{}, err
	}
	v.session = session
	adv, err := session.Refs(ctx)
	if err != nil {
		return Refs{}, err
	}
	return newRefs(v.name, adv, v.m.cfg.Limits.Refs)
}

// tree finds or fetches the commit ref stands at. When the server's answer does not fit
// together, be it that the ref moved meanwhile or that the mirror is damaged, one more
// try starts from nothing.
func (v *visit) tree(ctx context.Context, ref Ref) (*Tree, error) {
	refs, err := v.refs(ctx)
	if err != nil {
		return nil, err
	}
	head, err := refs.Resolve(ref)
	if err != nil {
		return nil, err
	}
	if tree := v.known(ref, head); tree != nil {
		v.m.metrics.cache.WithLabelValues(hit).Inc()
		return tree, nil
	}
	v.m.metrics.cache.WithLabelValues(miss).Inc()
	if err := v.last.failed[head.Commit]; err != nil && v.session == nil {
		return nil, err // tried while we waited
	}
	tree, err := v.fetch(ctx, ref, refs, head)
	if _, refused := remoteText(err); refused || damaged(err) {
		v.setObjects(nil)
		if refs, err = v.list(ctx); err != nil {
			return nil, err
		}
		if head, err = refs.Resolve(ref); err != nil {
			return nil, err
		}
		tree, err = v.fetch(ctx, ref, refs, head)
	}
	if err != nil {
		err = newError("fetching", v.src, v.name, err)
		if v.last.failed != nil && ctx.Err() == nil {
			v.last.failed[head.Commit] = err
		}
		return nil, err
	}
	v.rebuild()
	return tree, nil
}

// fetch brings head into the store.
func (v *visit) fetch(ctx context.Context, ref Ref, refs Refs, head Head) (_ *Tree, err error) {
	store, haves := v.objects(), v.commits()
	operation := "fetch"
	if store == nil || store.Broken() || len(haves) == 0 {
		store, haves, operation = objects.New(v.m.cfg.Dir), nil, "clone"
	}
	defer v.m.metrics.time(operation)(&err)
	if v.session == nil { // the listing was somebody else's
		if refs, err = v.list(ctx); err != nil {
			return nil, err
		}
	}
	req, branch, err := newRequest(ref, refs, head, haves)
	if err != nil {
		return nil, err
	}
	err = v.pack(ctx, store, req)
	if _, refused := remoteText(err); refused && ref.Commit != "" || err == nil && branch != "" && !store.Has(head.want) {
		return nil, refs.noCommit(ref, branch)
	}
	if err != nil {
		return nil, err
	}
	root, err := store.Check(plumbing.NewHash(string(head.Commit)), v.m.cfg.Limits.Entries)
	if err != nil {
		return nil, err
	}
	if operation == "clone" {
		v.setObjects(store)
	}
	v.keep(ref, head, root)
	return v.m.treeOf(store, root, head), nil
}

// newRequest asks for one commit, without history, as a difference to what we have. A
// commit that no ref stands at is asked for by id where the server allows, otherwise the
// branch it should be on is, with its history; the branch is returned then.
func newRequest(ref Ref, refs Refs, head Head, haves []objects.ID) (_ *packp.UploadPackRequest, branch string, err error) {
	req := packp.NewUploadPackRequest()
	offered := func(c capability.Capability) bool { return refs.caps.Supports(c) }
	for _, c := range []capability.Capability{
		capability.MultiACKDetailed, // Azure DevOps answers nobody else
		capability.Sideband64k, capability.OFSDelta, capability.ThinPack, capability.NoProgress, capability.Shallow,
	} {
		if offered(c) {
			if err := req.Capabilities.Set(c); err != nil {
				return nil, "", err
			}
		}
	}
	byID := offered(capability.AllowReachableSHA1InWant) || offered(capability.AllowTipSHA1InWant)
	if ref.Commit != "" && !byID && !refs.has(head.want) {
		on, err := refs.Resolve(Ref{Branch: ref.Branch})
		if err != nil {
			return nil, "", err
		}
		req.Wants = []plumbing.Hash{on.want}
		return req, on.Ref, nil
	}
	req.Wants = []plumbing.Hash{head.want}
	if offered(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
		req.Haves, req.Shallows = haves, slices.Clone(haves)
	}
	return req, "", nil
}

func (v *visit) pack(ctx context.Context, store *objects.Store, req *packp.UploadPackRequest) error {
	resp, err := v.session.Pack(ctx, req)
	if err != nil {
		return err
	}
	defer resp.Close()
	var pack io.Reader = resp
	if req.Capabilities.Supports(capability.Sideband64k) {
		pack = sideband.NewDemuxer(sideband.Sideband64k, resp)
	}
	lim := v.m.cfg.Limits
	err = store.Ingest(v.m.metrics.counting(pack), objects.Limits{Objects: objectsPerEntry * lim.Entries, Inflated: lim.ObjectBytes})
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// objectsPerEntry leaves room for history where a server has no shallow fetch.
const objectsPerEntry = 20
