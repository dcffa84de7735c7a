package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

type rollbackOptions struct {
	clusterFlags
	changeFlags

	to, clone string
	idle      bool // refuse while the workflow runs
}

func newRollbackCmd(e *env, connect reach) *cobra.Command {
	return rollbackCmd(e, connect, &rollbackOptions{}, "tradewind rollback")
}

// newWorkflowRollbackCmd is KubeVela's spelling, with its rule.
func newWorkflowRollbackCmd(e *env, connect reach) *cobra.Command {
	return rollbackCmd(e, connect, &rollbackOptions{idle: true}, "tradewind workflow rollback")
}

func rollbackCmd(e *env, connect reach, o *rollbackOptions, name string) *cobra.Command {
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "rollback [<namespace>/]<app>",
		Short: "Bring an Application back to an earlier revision",
		Long: "Bring an Application back to an earlier revision: by default the newest that is\n" +
			"different from now and whose delivery did not fail.\n\n" +
			"Of an Application that came from Git the repository says what it is, so a change in\n" +
			"the cluster would last until the next sync. Its rollback is a commit: with --clone it\n" +
			"is made in a clone of yours, to look at and push; without, the commands are printed\n" +
			"and the exit code is 3.",
		Example: "  " + name + " my-app\n" +
			"  " + name + " my-app --to my-app-v3\n" +
			"  " + name + " my-app --clone .",
		RunE: func(cmd *cobra.Command, args []string) error {
			return rollback(cmd.Context(), e, connect, *o, args[0])
		},
	})
	o.changeFlags.add(cmd, true)
	cmd.Flags().StringVar(&o.to, "to", "", "the revision, such as my-app-v3 or v3")
	cmd.Flags().StringVar(&o.clone, "clone", "", "a clone of the repository to make the commit in")
	return cmd
}

func rollback(ctx context.Context, e *env, connect reach, o rollbackOptions, arg string) error {
	c, app, err := open(ctx, connect, o.clusterFlags, arg)
	if err != nil {
		return err
	}
	if w := app.Status.Workflow; o.idle && w != nil && !w.Finished && !w.Suspend {
		return &exitError{code: exitFailure, err: fmt.Errorf("rolling back %s/%s: its workflow is running", app.Namespace, app.Name),
			hint: "tradewind workflow terminate ends it; tradewind rollback does not wait for it"}
	}
	revisions, err := c.Revisions(ctx, app.Namespace, app.Name)
	if err != nil {
		return refused(err)
	}
	target, err := chooseRevision(app, revisions, o.to)
	if err != nil {
		return err
	}
	if target.Hash == oam.SpecHash(app.Spec) {
		fmt.Fprintf(e.stderr, "%s/%s is as %s was already.\n", app.Namespace, app.Name, target.Name)
		return nil
	}
	if _, _, ok := parentOf(app); ok {
		return rollbackInGit(ctx, e, c, o, app, target)
	}
	if err := o.confirm(e, fmt.Sprintf("Roll %s/%s back to %s?", app.Namespace, app.Name, target.Name)); err != nil {
		return err
	}
	if o.dryRun {
		if err := showSpecDiff(e, app, target); err != nil {
			return err
		}
	}
	if err := c.Restore(ctx, app, target.Application, o.dryRun); err != nil {
		return mayWrite(err)
	}
	o.done(e, "Rolled back %s/%s to %s", app.Namespace, app.Name, target.Name)
	return nil
}

// showSpecDiff prints what a rollback changes in the spec.
func showSpecDiff(e *env, app *oam.Application, target apply.Revision) error {
	var docs [2]map[string]any
	for i, spec := range []oam.Spec{app.Spec, target.Application.Spec} {
		raw, err := json.Marshal(map[string]any{"spec": spec})
		if err == nil {
			err = json.Unmarshal(raw, &docs[i])
		}
		if err != nil {
			return fmt.Errorf("encoding the spec of %s: %w", app.Name, err)
		}
	}
	before, after := maskPair(docs[0], docs[1])
	text, err := unified("Application "+app.Namespace+"/"+app.Name, before, after)
	fmt.Fprint(e.stdout, printable(text))
	return err
}

// chooseRevision finds the named one, or the newest that is worth going back to.
func chooseRevision(app *oam.Application, revisions []apply.Revision, to string) (apply.Revision, error) {
	fail := func(hint, format string, args ...any) (apply.Revision, error) {
		return apply.Revision{}, &exitError{code: exitNotFound, hint: hint,
			err: fmt.Errorf("rolling back %s/%s: %s", app.Namespace, app.Name, fmt.Sprintf(format, args...))}
	}
	list := fmt.Sprintf("tradewind history %s/%s lists them", app.Namespace, app.Name)
	now := oam.SpecHash(app.Spec)
	for _, r := range revisions {
		named := to != "" && (r.Name == to || fmt.Sprintf("v%d", r.N) == "v"+strings.TrimPrefix(to, "v"))
		switch {
		case to != "" && !named, to == "" && (r.Hash == now || failed(deliveryOf(app, r))):
			continue
		case r.Application == nil:
			return fail(list, "revision %s cannot be read", r.Name)
		default:
			return r, nil
		}
	}
	if to != "" {
		return fail(list, "there is no revision %q", to)
	}
	return fail(list, "there is no earlier revision that did not fail")
}

// failed says that a delivery is known to have failed.
func failed(d *apply.Delivery) bool {
	return d != nil && (d.Phase == oam.WorkflowFailed || d.Phase == oam.WorkflowTerminated)
}

// rollbackInGit makes the commit, or says how it is made and why there must be one.
func rollbackInGit(ctx context.Context, e *env, c cluster, o rollbackOptions, app *oam.Application, target apply.Revision) error {
	namespace, name, _ := parentOf(app)
	parent, err := c.GetApplication(ctx, namespace, name)
	if err != nil {
		return fmt.Errorf("rolling back %s/%s: looking for the Application it came from: %w", app.Namespace, app.Name, refused(err))
	}
	sources := sourcesOf(parent)
	if o.clone != "" {
		return commitRollback(ctx, e, o, app, target, sources)
	}
	for _, s := range sources {
		ref := cmp.Or(s.Branch, s.Tag)
		branch := ""
		if ref != "" {
			branch = "--branch " + ref + " "
		}
		fmt.Fprintf(e.stdout, "# %s/%s comes from %s", app.Namespace, app.Name, s.Path)
		if s.commit != "" {
			fmt.Fprintf(e.stdout, " at %.7s", s.commit)
		}
		fmt.Fprintf(e.stdout, "\ngit clone %s%s config && cd config\n", branch, withoutCredentials(s.URL))
		fmt.Fprintf(e.stdout, "git log --oneline -- %s\n", strings.TrimPrefix(s.Path, "./"))
		fmt.Fprintf(e.stdout, "git revert <the commit that changed %s>\ngit push\n", app.Name)
	}
	return &exitError{
		code: exitDifferent,
		err: fmt.Errorf("rolling back %s/%s: it came from Git, so the next sync of %s/%s would undo a change in the cluster",
			app.Namespace, app.Name, namespace, name),
		hint: fmt.Sprintf("revert in Git as above; tradewind rollback %s/%s --to %s --clone <dir> makes the commit in a clone", app.Namespace, app.Name, target.Name),
	}
}

// gitSource is a source of an Application and the commit it was last delivered at.
type gitSource struct {
	*render.Source
	component, commit string
}

func sourcesOf(app *oam.Application) []gitSource {
	var out []gitSource
	for _, component := range app.Spec.Components {
		src, err := render.SourceOf(component)
		if err == nil && src != nil {
			out = append(out, gitSource{src, component.Name, commitOf(app, component.Name)})
		}
	}
	return out
}
