package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

type diffOptions struct {
	clusterFlags

	files, allowed []string
	tree, color    string
	exitCode       bool
}

func newDiffCmd(e *env, connect reach) *cobra.Command {
	var o diffOptions
	cmd := appCommand(&o.clusterFlags, connect, &cobra.Command{
		Use:   "diff [<namespace>/]<app> | -f <file>",
		Short: "Show what a delivery would change in the cluster",
		Long: "Show what a delivery would change in the cluster: the Application is rendered, from\n" +
			"the cluster or from a file, and the API server is asked what it would make of each\n" +
			"object. Nothing is written. Of Secrets only what changed is shown, no values.\n\n" +
			"The exit code is 3 when there is a difference.",
		Example: "  tradewind diff my-app\n" +
			"  tradewind diff -f clusters/apps.yaml --tree .",
		RunE: func(cmd *cobra.Command, args []string) error {
			return showDiff(cmd.Context(), e, connect, o, args)
		},
	})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 || (len(args) == 1) == (len(o.files) > 0) {
			return usageErrorf("diff: want the name of an Application or a file with -f")
		}
		return nil
	}
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file with Applications, - for standard input; may repeat")
	cmd.Flags().StringVar(&o.tree, "tree", "", "folder to read instead of Git")
	cmd.Flags().StringSliceVar(&o.allowed, "allow-host", nil, "Git host that may be private or plain http")
	cmd.Flags().BoolVar(&o.exitCode, "exit-code", true, "exit with 3 when there is a difference")
	cmd.Flags().StringVar(&o.color, "color", "auto", "auto, always or never")
	return cmd
}

var errDifferent = errors.New("there are differences")

func showDiff(ctx context.Context, e *env, connect reach, o diffOptions, args []string) error {
	paint, err := newPainter(o.color, e)
	if err != nil {
		return err
	}
	apps, c, err := diffApplications(ctx, e, connect, o, args)
	if err != nil {
		return err
	}
	p, done, err := newPreviewer(ctx, c, o.tree, o.allowed)
	if err != nil {
		return err
	}
	defer done()
	different := false
	var failures []error
	for _, app := range apps {
		rendered, err := p.application(ctx, app)
		if err != nil {
			return err
		}
		changes, err := rendered.changes(ctx, c)
		if err != nil {
			return err
		}
		for _, change := range changes {
			different = different || change.err != nil || change.text != ""
			if change.err != nil {
				failures = append(failures, change.err)
				continue
			}
			fmt.Fprint(e.stdout, colored(change.text, paint))
		}
	}
	switch {
	case len(failures) > 0:
		return errors.Join(failures...)
	case different && o.exitCode:
		return &exitError{code: exitDifferent, quiet: true, err: errDifferent}
	}
	return nil
}

// diffApplications are those of the files, each with what the cluster knows of it, or the
// one in the cluster.
func diffApplications(ctx context.Context, e *env, connect reach, o diffOptions, args []string) ([]*oam.Application, cluster, error) {
	if len(args) == 1 {
		c, app, err := open(ctx, connect, o.clusterFlags, args[0])
		return []*oam.Application{app}, c, err
	}
	c, err := connect(o.clusterFlags)
	if err != nil {
		return nil, nil, err
	}
	var out []*oam.Application
	for _, file := range o.files {
		apps, err := readApplications(e, file)
		if err != nil {
			return nil, nil, err
		}
		for _, app := range apps {
			app.Namespace = cmp.Or(app.Namespace, o.namespace, defaultNamespace)
			known, err := c.GetApplication(ctx, app.Namespace, app.Name)
			switch {
			case err == nil:
				app.UID, app.Status = known.UID, known.Status
				if parent := known.Labels[oam.LabelSource]; parent != "" { // a file does not say where it is delivered from
					app.Labels = withLabel(app.Labels, oam.LabelSource, parent)
				}
			case !apply.IsNotFound(err) && known == nil:
				return nil, nil, refused(err)
			}
			out = append(out, app)
		}
	}
	return out, c, nil
}

func withLabel(labels map[string]string, key, value string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	out[key] = value
	return out
}

// change is what would become of one object: a diff, or why nothing can.
type change struct {
	text string
	err  error
}

// changes compares every object, and adds those that would be deleted.
func (p *previewed) changes(ctx context.Context, c inspector) ([]change, error) {
	var out []change
	wanted := map[apply.ObjectRef]bool{}
	for _, component := range p.components {
		for _, preview := range component.previews {
			wanted[plainRef(preview.Ref)] = true
			text, err := previewDiff(preview)
			if preview.Err != nil {
				err = fmt.Errorf("component %q: %w", component.Name, preview.Err)
			}
			out = append(out, change{text, err})
		}
	}
	entries, err := c.Tracked(ctx, p.app.Namespace, p.app.Name)
	if err != nil {
		return nil, refused(err)
	}
	for _, entry := range entries {
		ref := plainRef(entry.Ref())
		wide := ref
		wide.Namespace = ""
		if wanted[ref] || wanted[wide] || p.keeps(entry) {
			continue
		}
		live, err := c.Read(ctx, entry.Ref())
		if apply.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, refused(err)
		}
		if !apply.Prunes(live) {
			continue
		}
		text, err := previewDiff(apply.Preview{Ref: entry.Ref(), Action: apply.Deleted, Live: live})
		out = append(out, change{text, err})
	}
	return out, nil
}

// keeps says that an object that is not wanted any more stays: its component does not
// prune.
func (p *previewed) keeps(entry apply.Entry) bool {
	i := slices.IndexFunc(p.components, func(c previewedComponent) bool { return c.Name == entry.Component })
	return i >= 0 && p.components[i].source != nil && !p.components[i].source.Prune
}

// previewDiff is the unified diff of one object; empty when nothing changes.
func previewDiff(p apply.Preview) (string, error) {
	if p.Action == apply.Unchanged || p.Action == apply.Failed {
		return "", nil
	}
	before, after := maskPair(visible(p.Live), visible(p.Applied))
	name := p.Ref.Kind + " " + strings.Trim(p.Ref.Namespace+"/"+p.Ref.Name, "/")
	return unified(name, before, after)
}

// unified compares two documents; nil is one that is not there.
func unified(name string, before, after map[string]any) (string, error) {
	text := func(doc map[string]any) ([]byte, error) {
		if doc == nil {
			return nil, nil
		}
		return yaml.Marshal(doc)
	}
	had, err := text(before)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", name, err)
	}
	wanted, err := text(after)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", name, err)
	}
	oldName, newName := "live "+name, "wanted "+name
	if before == nil {
		oldName = "/dev/null"
	}
	if after == nil {
		newName = "/dev/null"
	}
	_, body, _ := strings.Cut(string(diff.Diff(oldName, had, newName, wanted)), "\n") // after a line that repeats the names
	return body, nil
}

// visible is an object without what the server keeps for itself.
func visible(o *unstructured.Unstructured) map[string]any {
	if o == nil {
		return nil
	}
	o = o.DeepCopy()
	delete(o.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	labels := o.GetLabels()
	for _, label := range []string{oam.LabelRenderHash, oam.LabelRevision, "app.oam.dev/app-revision-hash"} {
		delete(labels, label)
	}
	setOrRemove(o, "labels", labels)
	annotations := o.GetAnnotations()
	for key := range annotations { // a copy of the object, Secrets and all
		if strings.Contains(key, "last-applied") {
			delete(annotations, key)
		}
	}
	setOrRemove(o, "annotations", annotations)
	return o.Object
}

// setOrRemove leaves no empty map behind.
func setOrRemove(o *unstructured.Unstructured, field string, values map[string]string) {
	if len(values) == 0 {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
		return
	}
	_ = unstructured.SetNestedStringMap(o.Object, values, "metadata", field) // metadata was read from it
}

func colored(text string, paint painter) string {
	if !paint {
		return printable(text)
	}
	var b strings.Builder
	for line := range strings.Lines(printable(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "+"):
			line = paint.green(line)
		case strings.HasPrefix(line, "-"):
			line = paint.red(line)
		case strings.HasPrefix(line, "@@"):
			line = paint.paint("36", line)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
