package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// module is a target where its sources are.
type module struct {
	dir string
	target
}

// command is the go command, which may clean up after itself when ctx ends.
func (m module) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// key changes when anything does that the program is built from.
func (m module) key(ctx context.Context) (string, error) {
	version, err := m.command(ctx, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s%q\n", version, m.flags)
	files, err := filepath.Glob(filepath.Join(m.dir, "*")) // sorted
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if !source(filepath.Base(file)) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(file), len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func source(name string) bool {
	return name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// quick builds end before it is worth counting what they have to do.
const quick = 2 * time.Second

// compile downloads what is missing and runs go build, which names each package on
// standard error as it compiles it.
func (m module) compile(ctx context.Context, binary string, p *progress) error {
	p.say("downloading modules")
	download := m.command(ctx, "mod", "download")
	if out, err := download.CombinedOutput(); err != nil {
		p.print(string(out))
		return fmt.Errorf("downloading modules: %w", err)
	}
	p.say("looking at what is compiled already")
	args := append([]string{"build", "-v", "-o", binary}, m.flags...)
	cmd := m.command(ctx, append(args, m.pkg)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	counting, stop := context.WithCancel(ctx)
	var counter sync.WaitGroup
	counter.Go(func() { m.count(counting, p) })
	follow(stderr, p)
	err = cmd.Wait()
	stop()
	counter.Wait()
	return err
}

// count finds out how much there is to do, unless the build ends before that matters.
func (m module) count(ctx context.Context, p *progress) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(quick):
	}
	before := p.count()
	if stale, err := m.stale(ctx); err == nil {
		p.expect(before + stale)
	} // else the build fails too, and says why
}

// stale counts the packages that the build cache does not have. It is close enough while
// the build runs, and nothing but the display depends on it.
func (m module) stale(ctx context.Context) (int, error) {
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}x{{end}}"}, m.flags...)
	out, err := m.command(ctx, append(args, m.pkg)...).Output()
	return bytes.Count(out, []byte("x")), err
}

// follow shows the packages, and as it is what else is said: the compiler's errors.
func follow(r io.Reader, p *progress) {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		switch pkg := strings.TrimSuffix(line, "\n"); {
		case pkg == "":
		case strings.HasPrefix(pkg, "go: downloading "):
			p.say(strings.TrimPrefix(pkg, "go: "))
		case strings.ContainsAny(pkg, " \t:#"):
			p.print(line)
		default:
			p.step(pkg)
		}
		if err != nil {
			return
		}
	}
}
