package forge

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Git runs the real git in dir with an identity and with nobody's configuration, and
// returns what it printed.
func Git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, GitEnv(dir)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// GitEnv is the environment that makes git behave the same on every machine.
func GitEnv(home string) []string {
	return []string{
		"HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
}

// repo is one bare repository of the server.
type repo struct {
	name string // owner/name
	dir  string
	id   int
	user *Login // nil: everybody may read and push

	pulls    []PullRequest  // guarded by the server
	statuses []CommitStatus // likewise

	pushing sync.Mutex // held from reading the refs to reading them again
}

// Login is what a private repository asks for.
type Login struct{ Username, Password string }

const repoConfig = `[core]
	repositoryformatversion = 0
	bare = true
[http]
	receivepack = true
[receive]
	autogc = false
[gc]
	auto = 0
[uploadpack]
	allowFilter = true
	allowReachableSHA1InWant = true
`

// newRepo makes a bare repository whose first commit on main holds files; nil or empty
// makes a repository without a commit.
func newRepo(ctx context.Context, dir string, files fs.FS) error {
	if _, err := Git(ctx, filepath.Dir(dir), "init", "--quiet", "--bare", "--initial-branch=main", dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(repoConfig), 0o644); err != nil {
		return err
	}
	if files == nil {
		return nil
	}
	stream, err := firstCommit(files)
	if err != nil || stream == nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "git", "fast-import", "--quiet", "--date-format=now")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stream)
	cmd.Env = append(GitEnv(dir), "PATH="+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("importing files: %w: %s", err, out)
	}
	return nil
}

// firstCommit writes a tree of files as git fast-import reads it.
func firstCommit(files fs.FS) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("commit refs/heads/main\ncommitter Ada <ada@example.com> now\ndata 13\nFirst commit\n\n")
	empty := true
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		empty = false
		fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", path, len(data), data)
		return nil
	})
	if empty {
		return nil, err
	}
	return b.Bytes(), err
}

// refs returns every branch and tag with what it points to.
func (r *repo) refs(ctx context.Context) (map[string]string, error) {
	out, err := Git(ctx, r.dir, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[name] = id
	}
	return refs, nil
}

// move is one ref before and after a push; "" means that it was not there.
type move struct{ ref, before, after string }

func moved(before, after map[string]string) []move {
	var moves []move
	for ref, id := range after {
		if before[ref] != id {
			moves = append(moves, move{ref, before[ref], id})
		}
	}
	for ref, id := range before {
		if after[ref] == "" {
			moves = append(moves, move{ref, id, ""})
		}
	}
	slices.SortFunc(moves, func(a, b move) int { return strings.Compare(a.ref, b.ref) })
	return moves
}
