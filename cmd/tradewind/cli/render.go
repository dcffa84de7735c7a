package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
	"github.com/tradewind-dev/tradewind/sync/workflow"
)

type renderOptions struct {
	files       []string
	tree        string
	namespace   string
	kubeVersion string
	output      string
	listTypes   bool
}

func newRenderCmd(e *env) *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render -f <file>",
		Short: "Show the objects an Application becomes, without a cluster",
		Long: "Show the objects an Application becomes. No cluster and no network is used: what a\n" +
			"kustomize component takes from Git is read from the folder that --tree names, the\n" +
			"root of a clone.",
		Example: "  tradewind render -f apps/my-app.yaml\n" +
			"  tradewind render -f clusters/apps.yaml --tree .\n" +
			"  tradewind render --list-types",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.listTypes {
				return listTypes(e)
			}
			return renderFiles(cmd.Context(), e, o)
		},
	}
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "file with Applications, - for standard input; may repeat")
	cmd.Flags().StringVar(&o.tree, "tree", "", "folder to read instead of Git")
	cmd.Flags().StringVarP(&o.namespace, "namespace", "n", "", `namespace of Applications that name none (default "`+defaultNamespace+`")`)
	cmd.Flags().StringVar(&o.kubeVersion, "kube-version", "1.37", "version of the cluster to render for")
	cmd.Flags().StringVarP(&o.output, "output", "o", outYAML, "yaml, json or name")
	cmd.Flags().BoolVar(&o.listTypes, "list-types", false, "list the component and trait types instead")
	return cmd
}

func renderFiles(ctx context.Context, e *env, o renderOptions) error {
	if err := checkOutput(o.output, outYAML, outJSON, outName); err != nil {
		return err
	}
	if len(o.files) == 0 {
		return usageErrorf("render: want a file with -f")
	}
	kubeVersion, err := parseKubeVersion(o.kubeVersion)
	if err != nil {
		return err
	}
	var tree fs.FS
	if o.tree != "" {
		root, err := os.OpenRoot(o.tree) // links that lead out of it end at its edge
		if err != nil {
			return usageErrorf("opening --tree: %w", err)
		}
		defer root.Close()
		tree = root.FS()
	}
	var results []*renderedApp
	renderer := render.New(render.Config{})
	for _, file := range o.files {
		apps, err := readApplications(e, file)
		if err != nil {
			return err
		}
		for _, app := range apps {
			app.Namespace = cmp.Or(app.Namespace, o.namespace, defaultNamespace)
			result, err := renderApp(ctx, renderer, app, kubeVersion, tree)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
	}
	advise(e.stderr, results)
	return writeRendered(e.stdout, results, o.output)
}

// advise prints what definitions say about old spellings.
func advise(w io.Writer, results []*renderedApp) {
	for _, r := range results {
		for _, c := range r.components {
			for _, hint := range c.Hints {
				fmt.Fprintf(w, "hint: component %q of %s: %s\n", c.Name, r.name, hint)
			}
		}
	}
}

func parseKubeVersion(s string) (render.Version, error) {
	major, minor, ok := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	if !ok || errX != nil || errY != nil {
		return render.Version{}, usageErrorf("--kube-version %q: want major.minor, such as 1.37", s)
	}
	return render.Version{Major: x, Minor: y, GitVersion: fmt.Sprintf("v%d.%d.0", x, y)}, nil
}

// readInput reads a file, or standard input for "-", and says how messages call it.
func readInput(e *env, file string) (name string, data []byte, err error) {
	if file == "-" {
		data, err = io.ReadAll(e.stdin)
		return "standard input", data, err
	}
	data, err = os.ReadFile(file)
	return file, data, err
}

// readApplications reads every document of a file.
func readApplications(e *env, file string) ([]*oam.Application, error) {
	file, data, err := readInput(e, file)
	if err != nil {
		return nil, usageErrorf("reading Applications: %w", err)
	}
	var apps []*oam.Application
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if oam.IsBlank(doc) {
			continue
		}
		app, err := oam.Parse(doc)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		apps = append(apps, app)
	}
	if len(apps) == 0 {
		return nil, fmt.Errorf("reading %s: no Application in it", file)
	}
	return apps, nil
}

type renderedApp struct {
	name       string
	components []*render.Component
}

// checkPlan says what is wrong with the workflow of app, the types of its steps included.
func checkPlan(r *render.Renderer, app *oam.Application) error {
	types := []string{workflow.TypeApplyComponent, "deploy"}
	if w := app.Spec.Workflow; w != nil {
		for _, step := range (workflow.Plan{Steps: w.Steps}).All() {
			if _, err := r.StepDefinition(app.Namespace, step.Type); err != nil {
				return fmt.Errorf("workflow step %q: %w", step.Name, err)
			}
			types = append(types, step.Type)
		}
	}
	_, err := workflow.NewPlan(app, types...)
	return err
}

func renderApp(ctx context.Context, r *render.Renderer, app *oam.Application, v render.Version, tree fs.FS) (*renderedApp, error) {
	if err := checkPlan(r, app); err != nil {
		return nil, fmt.Errorf("rendering %s/%s: %w", app.Namespace, app.Name, err)
	}
	rc := render.Context{
		AppName: app.Name, Namespace: app.Namespace, AppRevision: app.Name + "-v1", AppRevisionNum: 1,
		AppLabels: app.Labels, AppAnnotations: app.Annotations, Components: app.Spec.Components, ClusterVersion: v,
	}
	out := &renderedApp{name: app.Name}
	for _, c := range app.Spec.Components {
		src, err := render.SourceOf(c)
		if err != nil {
			return nil, renderError(app, err)
		}
		if src != nil && tree == nil {
			return nil, &exitError{
				code: exitUsage, err: fmt.Errorf("rendering component %q of %s/%s: its objects come from Git", c.Name, app.Namespace, app.Name),
				hint: "name the root of a clone with --tree; " + src.Path + " is read below it",
			}
		}
		rendered, err := r.Component(ctx, c, rc, tree)
		if err != nil {
			return nil, renderError(app, err)
		}
		out.components = append(out.components, rendered)
	}
	return out, nil
}

// renderError names the component before the Application, as every error of ours does.
func renderError(app *oam.Application, err error) error {
	wrong, ok := errors.AsType[*render.Error](err)
	if !ok || wrong.Component == "" {
		return fmt.Errorf("rendering %s/%s: %w", app.Namespace, app.Name, err)
	}
	rest := *wrong
	rest.Component = ""
	return fmt.Errorf("rendering component %q of %s/%s: %w", wrong.Component, app.Namespace, app.Name, &rest)
}

func writeRendered(w io.Writer, results []*renderedApp, form string) error {
	var objects []map[string]any
	var text strings.Builder
	for _, r := range results {
		for _, c := range r.components {
			fmt.Fprintf(&text, "---\n# Application(%s) -- Component(%s)\n---\n\n", r.name, c.Name)
			for _, o := range c.Objects {
				raw, err := yaml.Marshal(o.Object)
				if err != nil {
					return fmt.Errorf("encoding %s %s: %w", o.GetKind(), o.GetName(), err)
				}
				text.WriteString(origin(o))
				text.Write(raw)
				text.WriteString("---\n")
				objects = append(objects, o.Object)
				if form == outName {
					fmt.Fprintln(w, objectName(o))
				}
			}
		}
	}
	switch form {
	case outName:
		return nil
	case outJSON:
		return writeDocument(w, form, listOf(objects))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// origin is the comment above an object, in the words of "vela dry-run".
func origin(o render.Object) string {
	switch {
	case o.Role == oam.ResourceWorkload:
		return ""
	case o.Origin != "":
		return "## From " + o.Origin + "\n"
	case o.Trait == "AuxiliaryWorkload":
		return "## From the auxiliary workload\n"
	default:
		return "## From the trait " + o.Trait + "\n"
	}
}

// objectName is the name kubectl takes: deployment.apps/my-server.
func objectName(o render.Object) string {
	gk := o.GroupVersionKind().GroupKind()
	kind := strings.ToLower(gk.Kind)
	if gk.Group != "" {
		kind += "." + gk.Group
	}
	return kind + "/" + o.GetName()
}

func listTypes(e *env) error {
	t := &table{wrap: listWidth}
	t.add("TYPE", "KIND", "DESCRIPTION")
	definitions := render.Builtins()
	for _, kind := range []render.Kind{render.KindComponent, render.KindTrait} {
		for _, name := range definitions.Names(kind, "") {
			def, _ := definitions.Definition(kind, "", name)
			t.add(name, string(kind), def.Description)
		}
	}
	return t.writeTo(e.stdout)
}
