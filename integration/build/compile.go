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
	"time"
)

// sourceKey changes when anything that a build of the module depends on does.
func sourceKey(ctx context.Context, dir string) (string, error) {
	h := sha256.New()
	version, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for its version: %w", err)
	}
	h.Write(version)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	for _, file := range files { // sorted
		if ext := filepath.Ext(file); ext != ".go" && ext != ".mod" && ext != ".sum" || strings.HasSuffix(file, "_test.go") {
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

func download(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	return cmd.Run()
}

func countPackages(ctx context.Context, dir, pkg string) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", pkg)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("listing packages: %w", err)
	}
	return bytes.Count(out, []byte("\n")), nil
}

// compile runs go build, which names each package on standard error as it compiles it.
// What is cached it does not name, so the count may end early.
func compile(ctx context.Context, dir, out string, t target, p *progress, total int) error {
	args := append([]string{"build", "-v", "-o", out}, t.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, t.pkg)...)
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	complaints := follow(stderr, p, total)
	if err := cmd.Wait(); err != nil {
		p.clear()
		fmt.Fprint(os.Stderr, complaints)
		return err
	}
	return nil
}

// follow shows progress and returns what was not a package name: the compiler's errors.
func follow(r io.Reader, p *progress, total int) string {
	var complaints strings.Builder
	compiled := 0
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if strings.ContainsAny(line, " \t:#") {
			complaints.WriteString(line + "\n")
			continue
		}
		compiled++
		p.step(compiled, total, line)
	}
	return complaints.String()
}

// progress is one line that is redrawn on a terminal, and a line now and then elsewhere.
type progress struct {
	name     string
	begun    time.Time
	terminal bool
	last     time.Time
}

const quietEvery = 10 * time.Second // between lines that nobody watches live

func newProgress(name string) *progress {
	info, err := os.Stderr.Stat()
	return &progress{name: name, begun: time.Now(), terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (p *progress) say(what string) {
	if p.terminal {
		fmt.Fprintf(os.Stderr, "\r\033[Kbuilding %s  %s", p.name, what)
	} else if time.Since(p.last) >= quietEvery {
		p.last = time.Now()
		fmt.Fprintf(os.Stderr, "building %s  %s\n", p.name, what)
	}
}

func (p *progress) step(n, total int, pkg string) {
	p.say(fmt.Sprintf("%d of at most %d packages  %s  %.50s", n, total, time.Since(p.begun).Round(time.Second), pkg))
}

func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

func (p *progress) done() {
	p.clear()
	fmt.Fprintf(os.Stderr, "built bin/%s in %s\n", p.name, time.Since(p.begun).Round(100*time.Millisecond))
}
