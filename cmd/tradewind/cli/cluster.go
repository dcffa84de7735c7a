package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// cluster is what the commands ask of a cluster, part by part.
type cluster interface {
	applications
	historian
	editor
	inspector
	podReader
	renderTarget
	definitionLister
}

// historian knows what an Application was, and can make it so again.
type historian interface {
	Revisions(ctx context.Context, namespace, app string) ([]apply.Revision, error)
	Restore(ctx context.Context, app, recorded *oam.Application, dryRun bool) error
}

// editor changes what an Application carries besides its spec.
type editor interface {
	Annotate(ctx context.Context, namespace, name string, annotations map[string]string) error
	Label(ctx context.Context, namespace, name string, labels map[string]string) error
	DeleteApplication(ctx context.Context, app *oam.Application, orphan, dryRun bool) error
}

// inspector looks at objects.
type inspector interface {
	Tracked(ctx context.Context, namespace, name string) ([]apply.Entry, error)
	Read(ctx context.Context, ref apply.ObjectRef) (*unstructured.Unstructured, error)
	Columns(ctx context.Context, ref apply.ObjectRef) ([]apply.Column, error)
	DryRun(ctx context.Context, owner apply.Owner, items []apply.Item, adopt bool) []apply.Preview
}

// podReader finds pods and reads their logs.
type podReader interface {
	Pods(ctx context.Context, namespace, selector string) ([]*unstructured.Unstructured, error)
	Logs(ctx context.Context, namespace, pod string, o apply.LogOptions) (io.ReadCloser, error)
}

// renderTarget is what rendering for a cluster depends on.
type renderTarget interface {
	Version() (apply.Version, error)
	Namespaced(gk schema.GroupKind) (namespaced, known bool)
	SecretData(ctx context.Context, namespace, name string) (map[string][]byte, error)
}

var _ cluster = (*apply.Cluster)(nil)

// reach connects to the cluster that the flags name.
type reach func(clusterFlags) (cluster, error)

func reachCluster(f clusterFlags) (cluster, error) {
	return apply.Connect(apply.Config{Kubeconfig: f.kubeconfig, Context: f.context, Version: buildVersion().Version}, apply.Options{})
}

// clusterCommands are the commands that ask more of a cluster than its Applications.
func clusterCommands(e *env, connect reach) []*cobra.Command {
	return []*cobra.Command{
		newTreeCmd(e, connect), newHistoryCmd(e, connect), newRollbackCmd(e, connect), newDiffCmd(e, connect), newDryRunCmd(e, connect),
		newLogsCmd(e, connect), newWorkflowCmd(e, connect), newReconcileCmd(e, connect), newSuspendCmd(e, connect), newResumeCmd(e, connect),
		newWaitCmd(e, connect), newDeleteCmd(e, connect),
	}
}

// appCommand is a command about one Application.
func appCommand(f *clusterFlags, connect reach, cmd *cobra.Command) *cobra.Command {
	f.add(cmd)
	cmd.Args = oneArgument("the name of an Application")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeApps(cmd.Context(), *f, connect, typed), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// completeApps lists the names that begin with what was typed.
func completeApps(ctx context.Context, f clusterFlags, connect reach, typed string) []string {
	c, err := connect(f)
	if err != nil {
		return nil
	}
	namespace, _, both := strings.Cut(typed, "/")
	prefix := namespace + "/"
	if !both {
		namespace, prefix = cmp.Or(f.namespace, defaultNamespace), ""
	}
	apps, err := c.ListApplications(ctx, namespace)
	if err != nil {
		return nil
	}
	var out []string
	for _, app := range apps {
		if strings.HasPrefix(prefix+app.Name, typed) {
			out = append(out, prefix+app.Name)
		}
	}
	return out
}

// open connects and reads the Application that a command is about.
func open(ctx context.Context, connect reach, f clusterFlags, arg string) (cluster, *oam.Application, error) {
	namespace, name, err := f.target(arg)
	if err != nil {
		return nil, nil, err
	}
	c, err := connect(f)
	if err != nil {
		return nil, nil, err
	}
	app, err := find(ctx, c, namespace, name)
	return c, app, err
}

// changeFlags are those of every command that changes something.
type changeFlags struct{ yes, dryRun bool }

func (f *changeFlags) add(cmd *cobra.Command, asks bool) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done and do nothing")
	if asks {
		cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	}
}

// confirm asks before something is lost. Where nobody can answer, --yes must say it.
func (f changeFlags) confirm(e *env, question string) error {
	if f.yes || f.dryRun {
		return nil
	}
	if in, isFile := e.stdin.(*os.File); !isFile || !term.IsTerminal(int(in.Fd())) {
		return &exitError{code: exitUsage, err: errors.New("nobody is here to confirm this: " + question), hint: "--yes says yes, --dry-run only looks"}
	}
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(e.stdin, &answer)
	if answer = strings.ToLower(answer); answer != "y" && answer != "yes" {
		return &exitError{code: exitInterrupted, err: errors.New("not confirmed, nothing was changed")}
	}
	return nil
}

// done prints what was done, or with --dry-run what would have been.
func (f changeFlags) done(e *env, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if f.dryRun {
		text += " (dry run)"
	}
	fmt.Fprintln(e.stdout, text)
}

// mayWrite gives refusals of a write their exit code.
func mayWrite(err error) error {
	if refused, ok := errors.AsType[*exitError](refused(err)); ok {
		return &exitError{code: refused.code, err: err, hint: "your kubeconfig's user needs the right to change applications.core.oam.dev"}
	}
	return err
}

// parentOf names the Application whose Git source an Application came from.
func parentOf(app *oam.Application) (namespace, name string, ok bool) {
	return strings.Cut(app.Labels[oam.LabelSource], ".")
}

// dashed fills empty cells.
func dashed(cells ...string) []string {
	out := slices.Clone(cells)
	for i, c := range out {
		out[i] = cmp.Or(c, "-")
	}
	return out
}
