package reconcile

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/sync/bucket"
	"github.com/tradewind-dev/tradewind/sync/git"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/sops"
)

// Sources is what reads sources that are not Git, and files that are not plain.
type Sources struct {
	Registry  *registry.Client
	Buckets   *bucket.Buckets
	Decrypter *sops.Decrypter
}

// others also remembers what was found there.
type others struct {
	registry  *registry.Client
	buckets   *bucket.Buckets
	decrypter *sops.Decrypter
	artifacts *artifacts
}

func newOthers(s Sources) others {
	return others{registry: s.Registry, buckets: s.Buckets, decrypter: s.Decrypter, artifacts: newArtifacts()}
}

// sourceFiles is a source as it is now: a commit, an artifact or a bucket.
type sourceFiles struct {
	revision string    // the commit, the artifact's digest, or what stands for the bucket's content
	tree     *git.Tree // nil for what is not from Git
	whole    fs.FS     // of what is not from Git
	keys     string    // of decryption; empty when there is none
	plain    func(context.Context, fs.FS) fs.FS
}

// inputs is what a component was rendered from: what was read of a commit, or all of
// anything else, and the keys that opened it.
type inputs struct {
	reads          git.ReadSet
	revision, keys string
}

// unchanged says whether rendering from f would read the same.
func (in inputs) unchanged(f *sourceFiles) bool {
	if in.keys != f.keys {
		return false
	}
	if f.tree != nil {
		return in.reads.Unchanged(f.tree)
	}
	return in.revision == f.revision
}

// open gives the files to a renderer, and what it read of them once it is done.
func (f *sourceFiles) open(ctx context.Context) (fs.FS, func() inputs) {
	files, read := f.whole, func() inputs { return inputs{revision: f.revision, keys: f.keys} }
	if f.tree != nil {
		reads := git.Trace(f.tree)
		files = reads.FS()
		read = func() inputs { return inputs{reads: reads.Set(), keys: f.keys} }
	}
	if f.plain != nil {
		files = f.plain(ctx, files)
	}
	return files, read
}

// files returns a source as it is now.
func (x *run) files(ctx context.Context, src *render.Source) (*sourceFiles, error) {
	f := &sourceFiles{}
	if src.Type == render.SourceGit {
		tree, err := x.sourceTree(ctx, src)
		if err != nil {
			return nil, err
		}
		f.tree, f.revision = tree, string(tree.Commit())
	} else {
		at, err := x.artifact(ctx, src)
		if err != nil {
			return nil, err
		}
		f.whole, f.revision = at.files, at.revision
		x.wakeAt(x.now().Add(pullInterval(src))) // Git has the poller for that
	}
	if src.Decryption == nil {
		return f, nil
	}
	return f, x.decryption(ctx, src, f)
}

// decryption has a source's files decrypted as they are read: here, not where they are
// rendered.
func (x *run) decryption(ctx context.Context, src *render.Source, f *sourceFiles) error {
	if err := x.decrypter.Check(); err != nil {
		return err
	}
	name := src.Decryption.SecretName
	data, err := x.text(ctx, kindSecret, name)
	var keys sops.Identities
	if err == nil {
		keys, err = sops.IdentitiesFromSecret(data)
	}
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w", x.app.Namespace, name, err)
	}
	f.keys = keys.Fingerprint()
	f.plain = func(ctx context.Context, tree fs.FS) fs.FS { return x.decrypter.FS(ctx, tree, keys) }
	return nil
}
