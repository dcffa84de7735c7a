package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

// annotationWorkflow holds the latest request of a person about a workflow. The worker
// honours each id once.
const annotationWorkflow = "tradewind.dev/workflow"

// workflowRequest is the value of [annotationWorkflow].
type workflowRequest struct {
	ID   string `json:"id"`
	Op   string `json:"op"` // suspend, resume, terminate, restart
	Step string `json:"step,omitempty"`
	At   string `json:"at"` // RFC 3339
}

func newWorkflowCmd(e *env, connect reach) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workflow",
		Short: "List workflows; suspend, resume, terminate, restart, roll back",
		Example: "  tradewind workflow list\n" +
			"  tradewind workflow resume my-app\n" +
			"  tradewind workflow restart my-app -s deploy-prod",
		Args: group,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newWorkflowListCmd(e, connect),
		newWorkflowOpCmd(e, connect, "suspend", "Hold a workflow; steps that run become suspending", true),
		newWorkflowOpCmd(e, connect, "resume", "Let a suspended workflow go on", true),
		newWorkflowOpCmd(e, connect, "terminate", "End a workflow; its unfinished steps fail", false),
		newWorkflowOpCmd(e, connect, "restart", "Run a workflow from its beginning, or from a step that failed", true),
		newWorkflowRollbackCmd(e, connect),
	)
	return cmd
}

type workflowOptions struct {
	clusterFlags
	changeFlags

	step    string
	timeout time.Duration
}

func newWorkflowOpCmd(e *env, connect reach, op, short string, steps bool) *cobra.Command {
	var o workflowOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:     op + " [<namespace>/]<app>",
		Short:   short,
		Example: "  tradewind workflow " + op + " my-app",
		RunE: func(cmd *cobra.Command, args []string) error {
			return workflowOp(cmd.Context(), e, connect, o, op, args[0])
		},
	})
	o.changeFlags.add(cmd, false)
	cmd.Flags().DurationVar(&o.timeout, "timeout", defaultAnswer, "how long to wait until it is done; 0s does not wait")
	if steps {
		cmd.Flags().StringVarP(&o.step, "step", "s", "", "only this step")
		cmd.Example += "\n  tradewind workflow " + op + " my-app -s deploy-prod"
	}
	return cmd
}

func workflowOp(ctx context.Context, e *env, connect reach, o workflowOptions, op, arg string) error {
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if err != nil {
		return err
	}
	if err := mayOperate(app, op, o.step); err != nil {
		return err
	}
	id := strings.ToLower(rand.Text())
	request, err := json.Marshal(workflowRequest{ID: id, Op: op, Step: o.step, At: e.now().UTC().Format(time.RFC3339)})
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	if !o.dryRun {
		if err := c.Annotate(ctx, app.Namespace, app.Name, map[string]string{annotationWorkflow: string(request)}); err != nil {
			return mayWrite(err)
		}
		if o.timeout > 0 {
			if err := awaitAnswer(ctx, c, app, answerTo{id, op, o.timeout}); err != nil {
				return err
			}
		}
	}
	o.done(e, "Successfully %s workflow: %s", op, app.Name)
	return nil
}

// mayOperate checks what the worker would refuse, so that a person hears it at once.
func mayOperate(app *oam.Application, op, step string) error {
	w := app.Status.Workflow
	refuse := func(hint, format string, args ...any) error {
		return &exitError{code: exitFailure, hint: hint,
			err: fmt.Errorf("%s workflow of %s/%s: %s", gerund(op), app.Namespace, app.Name, fmt.Sprintf(format, args...))}
	}
	if w == nil {
		return refuse("tradewind status "+app.Namespace+"/"+app.Name+" says why", "it has not begun")
	}
	state := stepOf(w, step)
	switch {
	case step != "" && state == nil:
		return refuse("its steps: "+strings.Join(stepNames(w), ", "), "it has no step %q", step)
	case op == "restart" && step != "" && state.Phase != oam.StepFailed:
		return refuse("without -s the whole workflow runs again", "step %q is %s, only one that failed can be run again", step, state.Phase)
	case op == "restart":
		return nil
	case w.Finished:
		return refuse("tradewind workflow restart runs it again", "it has finished: %s", w.Phase)
	case op == "suspend" && w.Suspend:
		return refuse("tradewind workflow resume lets it go on", "it is suspended already")
	case op == "resume" && !w.Suspend:
		return refuse("tradewind status shows where it is", "it is not suspended")
	case op == "resume" && step != "" && state.Phase != oam.StepSuspending:
		return refuse("tradewind status shows which steps are", "step %q is %s, not suspending", step, state.Phase)
	}
	return nil
}

func gerund(op string) string {
	return map[string]string{
		"suspend": "suspending the", "resume": "resuming the", "terminate": "terminating the", "restart": "restarting the", "rollback": "rolling back the",
	}[op]
}

func stepOf(w *oam.WorkflowStatus, name string) *oam.StepStatus {
	for i := range w.Steps {
		if w.Steps[i].Name == name {
			return &w.Steps[i]
		}
		for j := range w.Steps[i].SubSteps {
			if w.Steps[i].SubSteps[j].Name == name {
				return &w.Steps[i].SubSteps[j]
			}
		}
	}
	return nil
}

func stepNames(w *oam.WorkflowStatus) []string {
	var out []string
	for _, s := range w.Steps {
		out = append(out, s.Name)
		for _, sub := range s.SubSteps {
			out = append(out, sub.Name)
		}
	}
	return out
}

func newWorkflowListCmd(e *env, connect reach) *cobra.Command {
	var f clusterFlags
	var all, noHeaders bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the workflows of Applications",
		Example: "  tradewind workflow list\n" +
			"  tradewind workflow list -A",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return workflowList(cmd.Context(), e, connect, f, all, noHeaders)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "list the workflows of every namespace")
	cmd.Flags().BoolVar(&noHeaders, "no-headers", false, "leave out the line of headers")
	return cmd
}

func workflowList(ctx context.Context, e *env, connect reach, f clusterFlags, all, noHeaders bool) error {
	c, err := connect(f)
	if err != nil {
		return err
	}
	namespace := cmp.Or(f.namespace, defaultNamespace)
	if all {
		namespace = metav1.NamespaceAll
	}
	apps, err := list(ctx, c, namespace)
	if err != nil {
		return err
	}
	t := &table{wrap: listWidth}
	add := func(namespace string, cells ...string) {
		if all {
			cells = slices.Insert(cells, 0, namespace)
		}
		t.add(dashed(cells...)...)
	}
	if !noHeaders {
		add("NAMESPACE", "NAME", "TYPE", "PHASE", "START-TIME", "END-TIME")
	}
	for _, app := range apps {
		if w := app.Status.Workflow; w != nil {
			add(app.Namespace, app.Name, "Application", string(w.Phase), timeText(w.StartTime), timeText(w.EndTime))
		}
	}
	return t.writeTo(e.stdout)
}

// timeText is in Go's own form, as the lists of KubeVela have it.
func timeText(t *metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.String()
}
