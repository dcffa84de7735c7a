package proc_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

// run starts this test binary as a child that does what TestMain makes of mode.
func run(t *testing.T, mode string) (*proc.Process, *proc.Log) {
	t.Helper()
	log, err := proc.NewLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD="+mode)
	p, err := proc.Start("child", log, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

func TestMain(m *testing.M) {
	switch os.Getenv("CHILD") {
	case "":
		os.Exit(m.Run())
	case "crash":
		_, _ = os.Stderr.WriteString("about to fall\nover")
		os.Exit(7)
	case "wait": // for the end of standard input
		_, _ = os.Stdout.WriteString("ready\n")
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
}

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCrashIsReportedWithTheLastLines(t *testing.T) {
	t.Parallel()
	p, log := run(t, "crash")
	ctx, release := p.WhileRunning(limit(t))
	defer release()
	_, _, err := log.Await(ctx, 0, func(line string) bool { return line == "ready" })
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "about to fall\nover") {
		t.Errorf("waiting for a line of a process that crashed: %v", err)
	}
	if err := p.Stop(limit(t)); err == nil || !strings.Contains(err.Error(), "child ended") {
		t.Errorf("stopping a process that crashed: %v", err)
	}
}

func TestStopLetsTheProcessEndByItself(t *testing.T) {
	t.Parallel()
	p, log := run(t, "wait")
	if _, _, err := log.Await(limit(t), 0, func(line string) bool { return line == "ready" }); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(limit(t)); err != nil {
		t.Error(err)
	}
	if p.Running() {
		t.Error("still running after Stop")
	}
}
