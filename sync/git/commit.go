package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/tradewind-dev/tradewind/sync/git/internal/objects"
	"github.com/tradewind-dev/tradewind/sync/git/internal/tree"
)

// ErrMoved says that a branch is not where the edit was made: somebody else pushed
// first. Fetch it and make the edit again.
var ErrMoved = errors.New("the branch moved")

// Person is who a commit is by.
type Person struct{ Name, Email string }

// Signer signs the bytes of a commit and returns the signature as Git stores it.
type Signer interface {
	Sign(commit []byte) (signature string, err error)
}

// Edit is one commit to be made.
type Edit struct {
	// Branch is the short name of the branch to move. It is expected where the tree was
	// fetched; with New it is expected not to exist.
	Branch string
	New    bool
	// Files are the new contents by path, of files that are there.
	Files   map[string][]byte
	Message string
	Author  Person // and committer
	When    time.Time
	Signer  Signer // nil signs nothing
}

// Commit makes a commit on top of the tree and pushes it: never by force, and only if the
// branch is still there, else the error is [ErrMoved]. What it returns is the pushed
// commit, which the mirror knows from then on without fetching it. After an error that
// leaves open what became of the push, the remote was asked.
func (m *Mirrors) Commit(ctx context.Context, src Source, on *Tree, e Edit) (*Tree, error) {
	mi, err := m.mirror("pushing", src)
	if err != nil {
		return nil, err
	}
	if err := (Ref{Branch: e.Branch}).Validate(); err != nil || e.Branch == "" {
		return nil, newError("pushing", src, mi.name, firstErr(err, &refsError{"there is no branch to push to", "name one under git.branch"}))
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	v, err := mi.visit(ctx, src)
	if err != nil {
		return nil, newError("pushing", src, mi.name, err)
	}
	defer v.leave()
	t, err := v.commit(ctx, on, e)
	if err != nil {
		return nil, newError("pushing", src, mi.name, err)
	}
	return t, nil
}

func firstErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (v *visit) commit(ctx context.Context, on *Tree, e Edit) (*Tree, error) {
	store, root := tree.Objects(on)
	root, added, err := store.Rewrite(root, e.Files)
	if err != nil {
		return nil, err
	}
	data, err := encodeCommit(root, on.Commit(), e)
	if err != nil {
		return nil, err
	}
	id, err := store.Add(plumbing.CommitObject, data)
	if err != nil {
		return nil, err
	}
	if _, err := store.Check(id, v.m.cfg.Limits.Entries); err != nil {
		return nil, err
	}
	head := Head{Ref: branchPrefix + e.Branch, Commit: Commit(id.String()), want: id}
	if err := v.push(ctx, store, on.Commit(), head, e.New, append(added, id)); err != nil {
		return nil, err
	}
	if v.objects() == store {
		v.keep(Ref{Branch: e.Branch}, head, root)
	}
	return v.m.treeOf(store, root, head), nil
}

// encodeCommit writes a commit as Git does.
func encodeCommit(root objects.ID, parent Commit, e Edit) ([]byte, error) {
	for _, s := range []string{e.Author.Name, e.Author.Email} {
		if s == "" || strings.ContainsAny(s, "<>\n\x00") {
			return nil, &refsError{"the author has a name or address that Git does not take", "leave out < and >"}
		}
	}
	if strings.ContainsRune(e.Message, 0) {
		return nil, &refsError{"the message holds a NUL", ""}
	}
	stamp := fmt.Sprintf("%s <%s> %d +0000", e.Author.Name, e.Author.Email, e.When.Unix())
	head := fmt.Sprintf("tree %s\nparent %s\nauthor %s\ncommitter %s\n", root, parent, stamp, stamp)
	body := "\n" + e.Message
	if e.Signer == nil {
		return []byte(head + body), nil
	}
	signature, err := e.Signer.Sign([]byte(head + body))
	if err != nil {
		return nil, fmt.Errorf("signing the commit: %w", err)
	}
	// A header that goes on has a space before each further line.
	return []byte(head + "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(signature, "\n"), "\n", "\n ") + "\n" + body), nil
}

// push moves the branch from one commit to the next, or says who is in the way.
func (v *visit) push(ctx context.Context, store *objects.Store, from Commit, to Head, isNew bool, ids []objects.ID) (err error) {
	defer v.m.metrics.time("push")(&err)
	old := plumbing.NewHash(string(from))
	if isNew {
		old = plumbing.ZeroHash
	}
	report, err := v.send(ctx, store, old, to, ids)
	if errors.Is(err, ErrMoved) {
		v.m.metrics.conflicts.Inc()
		return err
	}
	// The report is not the last word: a server may lose the ref, and a connection may
	// break after it was moved.
	refs, listErr := v.list(ctx)
	if listErr != nil {
		return firstErr(err, listErr)
	}
	now, found := refs.byName[to.Ref]
	switch {
	case found && now.want == to.want:
		return nil
	case err != nil:
		return err
	case report == "" && found && now.want != old:
		return nil // it was ours, and somebody has built on it since
	case report == "":
		return &refsError{"the server reported success, but the branch does not have the commit", ""}
	case !found && !isNew || found && now.want != old || isRace(report):
		v.m.metrics.conflicts.Inc()
		return moved()
	}
	return declined(report)
}

func moved() error {
	return fmt.Errorf("%w since it was fetched", ErrMoved)
}

// send returns what the server reports about the ref, empty when all is well.
func (v *visit) send(ctx context.Context, store *objects.Store, old objects.ID, to Head, ids []objects.ID) (string, error) {
	session, err := v.m.dialer.OpenPush(ctx, v.ep, v.src.Auth)
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	adv, err := session.Refs(ctx)
	if err != nil {
		return "", err
	}
	if adv.References[to.Ref] != old { // absent is zero
		return "", moved()
	}
	var pack bytes.Buffer
	if err := store.Pack(&pack, ids); err != nil {
		return "", err
	}
	req := packp.NewReferenceUpdateRequest()
	if err := req.Capabilities.Set(capability.ReportStatus); err != nil {
		return "", err
	}
	req.Commands = []*packp.Command{{Name: plumbing.ReferenceName(to.Ref), Old: old, New: to.want}}
	req.Packfile = io.NopCloser(&pack)
	report, err := session.Push(ctx, req)
	if err != nil {
		return "", err
	}
	if report.UnpackStatus != "ok" {
		return report.UnpackStatus, nil
	}
	at := slices.IndexFunc(report.CommandStatuses, func(s *packp.CommandStatus) bool { return string(s.ReferenceName) == to.Ref })
	if at < 0 {
		return "no report", nil
	}
	if status := report.CommandStatuses[at].Status; status != "ok" {
		return status, nil
	}
	return "", nil
}

// isRace knows how servers say that somebody else is moving the ref. There is no code
// for it.
func isRace(report string) bool {
	return mentions(report, "fetch first", "non-fast-forward", "failed to update ref", "cannot lock ref", "failed to lock", "stale info", "incorrect old value")
}

// declined is a push that the server does not want from us, now or later.
func declined(report string) error {
	if mentions(report, "protected", "hook", "policy", "gh006", "gh013") {
		return &refsError{"the server's rules for the branch declined the push", "let the credential push to the branch, or push to another one"}
	}
	return &refsError{"the server declined the push", "look for the reason in the server's log"}
}

func mentions(text string, phrases ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
}
