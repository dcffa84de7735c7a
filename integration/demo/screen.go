package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// screen prints: steps while things start, then a page, then one line per event.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	what   string
	since  time.Time
}

func newScreen(out io.Writer, colour bool) *screen { return &screen{out: out, colour: colour} }

// Write makes the screen a writer that whole lines can come to from anywhere.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// step ends the step before it and begins another.
func (s *screen) step(what string) {
	s.stepDone()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what, s.since = what, time.Now()
	if s.colour {
		fmt.Fprintf(s.out, "  … %s", what) // replaced when done
	}
}

func (s *screen) stepDone()   { s.endStep(s.paint(green, "✓")) }
func (s *screen) stepFailed() { s.endStep(s.paint(red, "✗")) }

func (s *screen) endStep(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.what == "" {
		return
	}
	start := "  "
	if s.colour {
		start = "\r  "
	}
	fmt.Fprintf(s.out, "%s%s %s %s\n", start, mark, s.what, s.paint(dim, fmt.Sprintf("%.1fs", time.Since(s.since).Seconds())))
	s.what = ""
}

// The colours, as SGR codes.
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	cyan  = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// table is what "tradewind ls" says, by the program itself.
func (d *demo) table(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, d.world.Tradewind.Binary, "ls", "-n", namespace)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+d.world.Cluster.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running tradewind ls: %w: %s", err, out)
	}
	_, err = fmt.Fprintf(d.out, "\n%s", out)
	return err
}

// explain prints the page: where everything is, and what to try.
func (d *demo) explain(ctx context.Context) error {
	if err := d.table(ctx); err != nil {
		return err
	}
	var b strings.Builder
	title := func(text string) { fmt.Fprintf(&b, "\n%s\n", d.out.paint(bold, text)) }
	row := func(name, value string) { fmt.Fprintf(&b, "  %-10s %s\n", name, value) }
	line := func(text string) { fmt.Fprintf(&b, "     %s\n", d.out.paint(cyan, text)) }

	title("Where things are")
	row("Git", d.world.Git.RepoURL(repoName)+"  (webhook to "+d.world.Tradewind.Webhook().URL+")")
	row("Metrics", d.world.Tradewind.AdminURL()+"/metrics")
	row("Clone", d.clone)
	title("In another terminal, first")
	line("cd " + d.clone)
	line("export KUBECONFIG=" + d.world.Cluster.Kubeconfig + " PATH=" + filepath.Dir(d.world.Tradewind.Binary) + ":$PATH")
	title("Three things to try")
	for i, try := range d.tries() {
		fmt.Fprintf(&b, "  %d  %s\n", i+1, try.what)
		for _, command := range try.commands {
			line(command)
		}
	}
	title("What happens (Ctrl-C ends everything)")
	_, err := io.WriteString(d.out, b.String())
	return err
}

// try is one suggestion, as lines that work when pasted.
type try struct {
	what     string
	commands []string
}

func (d *demo) tries() []try {
	byHand := "kubectl delete ingress my-server"
	if _, err := exec.LookPath("kubectl"); err != nil {
		byHand = d.world.Cluster.Curl("DELETE", "/apis/networking.k8s.io/v1/namespaces/"+namespace+"/ingresses/my-server")
	}
	return []try{
		{"A new domain: one Ingress changes, every pod stays.", []string{
			"sed -i.bak s/" + oldDomain + "/" + newDomain + "/ apps/my-app.yaml && git commit -qam 'A new domain' && git push -q",
		}},
		{"A typing mistake: nothing changes, and the status says which file and line.", []string{
			"echo 'kind: [' > apps/broken.yaml && git add apps && git commit -qm 'Oops' && git push -q",
			"tradewind status apps",
			"git rm -q apps/broken.yaml && git commit -qm 'Mended' && git push -q",
		}},
		{"Somebody deletes the Ingress by hand: it comes back.", []string{byHand}},
	}
}
