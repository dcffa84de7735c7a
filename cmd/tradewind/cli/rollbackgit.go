package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// commitRollback brings the Application's file in a clone back to the commit at which it
// said what the revision recorded. Pushing is left to the person: it is their branch.
func commitRollback(ctx context.Context, e *env, o rollbackOptions, app *oam.Application, target apply.Revision, sources []gitSource) error {
	g := clone{dir: o.clone}
	file, err := g.fileOf(ctx, app, sources)
	if err != nil {
		return err
	}
	commit, err := g.commitOf(ctx, file, app, target.Hash)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := g.restore(ctx, file, commit, fmt.Sprintf("Roll %s back to %s", app.Name, target.Name)); err != nil {
			return err
		}
	}
	o.done(e, "Committed %s as it was at %.7s; review it, then: git push", file, commit)
	return nil
}

// clone is a repository on the disk of the person at the keyboard, worked on with their
// own git, identity and hooks.
type clone struct{ dir string }

func (g clone) git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", g.dir}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		why := firstLine(strings.TrimSpace(said.String()), err.Error())
		return nil, &exitError{code: exitFailure, err: fmt.Errorf("running git %s in %s: %s", args[0], g.dir, why)}
	}
	return out, nil
}

// firstLine is the first line of the first text that is not empty.
func firstLine(texts ...string) string {
	for _, t := range texts {
		if line, _, _ := strings.Cut(t, "\n"); line != "" {
			return line
		}
	}
	return ""
}

// fileOf finds the one file below the sources' paths that holds the Application, and
// refuses one with changes that are not committed.
func (g clone) fileOf(ctx context.Context, app *oam.Application, sources []gitSource) (string, error) {
	root, err := os.OpenRoot(g.dir)
	if err != nil {
		return "", usageErrorf("opening --clone: %w", err)
	}
	defer root.Close()
	var found []string
	for _, s := range sources {
		err := fs.WalkDir(root.FS(), filepath.ToSlash(filepath.Clean(strings.TrimPrefix(s.Path, "/"))), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			if ext := filepath.Ext(name); d.IsDir() || ext != ".yaml" && ext != ".yml" {
				return nil
			}
			data, err := fs.ReadFile(root.FS(), name)
			if at, _ := split(data, app); err == nil && at != nil && !slices.Contains(found, name) {
				found = append(found, name)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for %s in %s: %w", app.Name, g.dir, err)
		}
	}
	if len(found) != 1 {
		return "", &exitError{code: exitNotFound, hint: "is it a clone of the repository that " + app.Labels[oam.LabelSource] + " names, at its branch?",
			err: fmt.Errorf("looking for Application %s in %s: found in %d files, want 1", app.Name, g.dir, len(found))}
	}
	changed, err := g.git(ctx, "status", "--porcelain", "--", found[0])
	if err == nil && len(changed) > 0 {
		err = &exitError{code: exitFailure, err: fmt.Errorf("rolling back %s: it has changes that are not committed", found[0]), hint: "commit or stash them first"}
	}
	return found[0], err
}

// commitOf finds the newest commit at which the file says what the revision recorded.
func (g clone) commitOf(ctx context.Context, file string, app *oam.Application, hash string) (string, error) {
	history, err := g.git(ctx, "log", "--format=%H", "--", file)
	if err != nil {
		return "", err
	}
	now, err := g.git(ctx, "show", "HEAD:./"+file)
	if err != nil {
		return "", err
	}
	_, others := split(now, app)
	for commit := range strings.FieldsSeq(string(history)) {
		data, err := g.git(ctx, "show", commit+":./"+file)
		if err != nil {
			continue // the file was deleted there
		}
		then, othersThen := split(data, app)
		switch {
		case then == nil || oam.SpecHash(then.Spec) != hash:
			continue
		case !slices.Equal(others, othersThen):
			return "", &exitError{code: exitFailure, hint: "take over by hand what belongs to " + app.Name + ": git show " + commit[:7] + ":./" + file,
				err: fmt.Errorf("rolling back %s to %.7s: other documents in it have changed since", file, commit)}
		}
		return commit, nil
	}
	return "", &exitError{code: exitNotFound, hint: "it may be changed on its way by a kustomization, or the clone is not complete: git fetch --unshallow",
		err: fmt.Errorf("looking for the revision in the history of %s: no commit has this spec", file)}
}

func (g clone) restore(ctx context.Context, file, commit, message string) error {
	if _, err := g.git(ctx, "checkout", commit, "--", file); err != nil {
		return err
	}
	_, err := g.git(ctx, "commit", "--quiet", "-m", message, "-m", "The file is as it was at "+commit+".", "--", file)
	return err
}

// split takes the Application's document out of a file; the rest comes as text.
func split(data []byte, app *oam.Application) (found *oam.Application, others []string) {
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if err != nil { // the end, or what no YAML reader gets past
			return found, others
		}
		parsed, err := oam.Parse(doc)
		if err == nil && parsed.Name == app.Name && (parsed.Namespace == "" || parsed.Namespace == app.Namespace) {
			found = parsed
		} else {
			others = append(others, string(doc))
		}
	}
}
