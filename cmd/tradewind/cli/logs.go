package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

type logsOptions struct {
	clusterFlags

	component, container, pod string
	follow                    bool
	tail                      int
	since                     time.Duration
	output, color             string
}

// The forms of a line of a log.
const (
	outDefault = "default"
	outRaw     = "raw"
)

func newLogsCmd(e *env, connect reach) *cobra.Command {
	var o logsOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "logs [<namespace>/]<app>",
		Short: "Print the logs of an Application's pods",
		Long: "Print the logs of an Application's pods, each line after the name of its container;\n" +
			"on a terminal the name of the pod comes first. With -f the pods that are there are\n" +
			"followed, not those that come later.",
		Example: "  tradewind logs my-app -f\n" +
			"  tradewind logs my-app -c my-server --tail 20",
		RunE: func(cmd *cobra.Command, args []string) error {
			return logs(cmd.Context(), e, connect, o, args[0])
		},
	})
	cmd.Flags().StringVarP(&o.component, "component", "c", "", "only pods of this component")
	cmd.Flags().StringVar(&o.container, "container", "", "only this container")
	cmd.Flags().StringVarP(&o.pod, "pod", "p", "", "only this pod")
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "keep printing what is written")
	cmd.Flags().IntVar(&o.tail, "tail", -1, "lines from the end of each log, -1 for all")
	cmd.Flags().DurationVar(&o.since, "since", 0, "only lines younger than this, such as 5m")
	cmd.Flags().StringVarP(&o.output, "output", "o", outDefault, "default, raw or json")
	cmd.Flags().StringVar(&o.color, "color", "auto", "auto, always or never")
	return cmd
}

func logs(ctx context.Context, e *env, connect reach, o logsOptions, arg string) error {
	if err := checkOutput(o.output, outDefault, outRaw, outJSON); err != nil {
		return err
	}
	paint, err := newPainter(o.color, e)
	if err != nil {
		return err
	}
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if app == nil {
		return err
	}
	sources, err := logSources(ctx, c, app, o)
	if err != nil {
		return err
	}
	out := &logWriter{w: e.stdout, form: o.output, paint: paint}
	// A container that has not begun must not hide what the others say.
	errs := make([]error, len(sources))
	if !o.follow {
		for i, s := range sources {
			errs[i] = s.copy(ctx, c, o, out)
		}
		return errors.Join(errs...)
	}
	var running sync.WaitGroup
	for i, s := range sources {
		running.Go(func() { errs[i] = s.copy(ctx, c, o, out) })
	}
	running.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// logSource is one container.
type logSource struct{ namespace, pod, container string }

// logSources finds the containers that the options choose.
func logSources(ctx context.Context, c podReader, app *oam.Application, o logsOptions) ([]logSource, error) {
	selector := oam.LabelName + "=" + app.Name
	if o.component != "" {
		selector += "," + oam.LabelComponent + "=" + o.component
	}
	var out []logSource
	for _, namespace := range namespacesOf(app) {
		pods, err := c.Pods(ctx, namespace, selector)
		if err != nil {
			return nil, refusedPods(err)
		}
		for _, pod := range pods {
			for _, container := range containersOf(pod) {
				if (o.pod == "" || o.pod == pod.GetName()) && (o.container == "" || o.container == container) {
					out = append(out, logSource{namespace, pod.GetName(), container})
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, &exitError{code: exitNotFound, err: fmt.Errorf("reading the logs of %s/%s: it has no such pods", app.Namespace, app.Name),
			hint: fmt.Sprintf("tradewind status %s/%s says how its components are", app.Namespace, app.Name)}
	}
	return out, nil
}

func refusedPods(err error) error {
	if refused, ok := errors.AsType[*exitError](refused(err)); ok {
		refused.hint = "your kubeconfig's user needs the right to list pods and get pods/log"
		return refused
	}
	return err
}

// namespacesOf are where an Application has objects.
func namespacesOf(app *oam.Application) []string {
	out := []string{app.Namespace}
	for _, r := range app.Status.AppliedResources {
		if r.Namespace != "" && !slices.Contains(out, r.Namespace) {
			out = append(out, r.Namespace)
		}
	}
	return out
}

func containersOf(pod *unstructured.Unstructured) []string {
	var out []string
	for _, field := range []string{"initContainers", "containers"} {
		containers, _, _ := unstructured.NestedSlice(pod.Object, "spec", field)
		for _, c := range containers {
			container, _ := c.(map[string]any)
			if name, _ := container["name"].(string); name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}

// copy prints the lines of one log.
func (s logSource) copy(ctx context.Context, c podReader, o logsOptions, out *logWriter) error {
	body, err := c.Logs(ctx, s.namespace, s.pod, apply.LogOptions{Container: s.container, Follow: o.follow, Tail: o.tail, Since: o.since})
	if err != nil {
		return refusedPods(err)
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if err := out.line(s, line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("reading the log of %s/%s: %w", s.namespace, s.pod, err)
		}
	}
}

// logWriter takes lines from several logs at once.
type logWriter struct {
	form  string
	paint painter

	mu sync.Mutex // guards w
	w  io.Writer
}

func (l *logWriter) line(s logSource, text string) error {
	text = strings.TrimRight(text, "\r\n")
	switch {
	case l.form == outJSON:
		raw, err := json.Marshal(map[string]string{"namespace": s.namespace, "pod": s.pod, "container": s.container, "message": text})
		if err != nil {
			return fmt.Errorf("encoding a line: %w", err)
		}
		text = string(raw)
	case l.form == outRaw:
	case bool(l.paint):
		text = l.paint.paint(podColor(s.pod), s.pod) + " " + s.container + " " + text
	default:
		text = s.container + " " + text
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := io.WriteString(l.w, text+"\n")
	return err
}

// podColor gives a pod one of the colours that neither mean well nor ill.
func podColor(pod string) string {
	sum := 0
	for _, r := range pod {
		sum += int(r)
	}
	return []string{"34", "35", "36", "94", "95", "96"}[sum%6]
}
