package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// ready is the line that tells whoever started us that the cluster can be used.
type ready struct {
	Ready      bool           `json:"ready"`
	Server     string         `json:"server"`
	Kubeconfig string         `json:"kubeconfig"`
	PIDs       map[string]int `json:"pids"`
	Took       string         `json:"took"`
}

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 10 * time.Second
)

func start(ctx context.Context, args []string) error {
	began := time.Now()
	flags := flag.NewFlagSet("start", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for data and logs")
	kubeconfig := flags.String("kubeconfig", "", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *kubeconfig == "" {
		return errors.New("start needs --dir and --kubeconfig")
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	l, err := newLayout(abs, *kubeconfig)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", abs, err)
	}
	var children children
	defer children.stop()
	if err := children.startAll(ctx, l); err != nil {
		return err
	}
	line, err := json.Marshal(ready{
		Ready: true, Server: l.server(), Kubeconfig: l.Kubeconfig,
		PIDs: children.pids(), Took: time.Since(began).Round(time.Millisecond).String(),
	})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	select {
	case <-ctx.Done():
		return nil
	case c := <-children.exited():
		return fmt.Errorf("%s ended: %w\n%s", c.name, c.err, tail(l.path(c.name+".log")))
	}
}

type child struct {
	name  string
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	done  chan struct{}
	err   error
}

type children []*child

// startAll starts the parts in the order they need one another.
func (cs *children) startAll(ctx context.Context, l layout) error {
	for _, name := range []string{"etcd", "apiserver"} {
		if err := cs.start(name, l); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client, err := cs.waitForAPI(ctx, l)
	if err != nil {
		return err
	}
	if err := cs.start("controllers", l); err != nil {
		return err
	}
	// Pods can be created once the default service account is there.
	return cs.until(ctx, l, "the default service account", func() error {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (cs *children) waitForAPI(ctx context.Context, l layout) (*kubernetes.Clientset, error) {
	var client *kubernetes.Clientset
	err := cs.until(ctx, l, "the API server", func() error {
		ca, err := os.ReadFile(l.path("certs/apiserver.crt"))
		if err != nil {
			return err
		}
		client, err = kubernetes.NewForConfig(&rest.Config{
			Host: l.server(), BearerToken: l.Token, TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		})
		if err != nil {
			return err
		}
		if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
			return err
		}
		return l.writeKubeconfig(ca)
	})
	return client, err
}

// until tries every 50 ms, and gives up early when a child has ended.
func (cs *children) until(ctx context.Context, l layout, what string, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case c := <-cs.exited():
			return fmt.Errorf("%s ended while waiting for %s: %w\n%s", c.name, what, c.err, tail(l.path(c.name+".log")))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (cs *children) start(name string, l layout) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(l.path(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, name, l.path("layout.json"))
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, stdin: stdin, done: make(chan struct{})}
	*cs = append(*cs, c)
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return nil
}

// exited delivers the first child that ends.
func (cs children) exited() <-chan *child {
	out := make(chan *child, len(cs))
	for _, c := range cs {
		go func() {
			<-c.done
			out <- c
		}()
	}
	return out
}

func (cs children) pids() map[string]int {
	pids := map[string]int{}
	for _, c := range cs {
		pids[c.name] = c.cmd.Process.Pid
	}
	return pids
}

// stop ends the children in reverse order: whoever still serves nobody goes last.
func (cs *children) stop() {
	for i := len(*cs) - 1; i >= 0; i-- {
		c := (*cs)[i]
		c.stdin.Close()
		select {
		case <-c.done:
		case <-time.After(stopTimeout):
			c.cmd.Process.Kill()
			<-c.done
		}
	}
}

// tail is the end of a log, for the message about whoever wrote it.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}
