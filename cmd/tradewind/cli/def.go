package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// definitionLister reads the definitions of a cluster.
type definitionLister interface {
	ListDefinitions(ctx context.Context, kind, namespace string) ([]unstructured.Unstructured, error)
}

// definitions is where the def commands find and put definitions.
type definitions interface {
	definitionLister
	ApplyDefinition(ctx context.Context, object *unstructured.Unstructured, force bool) (apply.Action, error)
}

// definitionConnector reaches the definitions of a cluster.
type definitionConnector func(clusterFlags) (definitions, error)

func connectDefinitions(f clusterFlags) (definitions, error) {
	return apply.Connect(apply.Config{Kubeconfig: f.kubeconfig, Context: f.context}, apply.Options{})
}

// outCUE is the form of a definition file.
const outCUE = "cue"

// builtinNamespace stands in lists for the types that come with the program.
const builtinNamespace = "(built-in)"

// definitionTypes are the words for what a definition defines, in the order of lists.
var definitionTypes = []render.Kind{render.KindComponent, render.KindTrait, render.KindPolicy, render.KindWorkflowStep}

func newDefCmd(e *env) *cobra.Command { return defCmd(e, connectDefinitions) }

func defCmd(e *env, connect definitionConnector) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "def",
		Aliases: []string{"definition"},
		Short:   "Define component, trait, policy and workflow step types of your own",
		Long: "Define types of your own. A definition is a .cue file, imports, one header field named\n" +
			"after the type and template, or the YAML of the object that a cluster holds. Folders\n" +
			"are walked.",
		Example: "  tradewind def vet my-service.cue\n" +
			"  tradewind def apply definitions/\n" +
			"  tradewind def list --type trait",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(defApplyCmd(e, connect), defGetCmd(e, connect), defListCmd(e, connect), defVetCmd(e), defRenderCmd(e))
	return cmd
}

// definitionFlags are the cluster's, with the namespace that definitions are in.
func definitionFlags(cmd *cobra.Command, f *clusterFlags, namespace string) {
	f.add(cmd)
	cmd.Flags().Lookup("namespace").Usage = namespace
}

func defApplyCmd(e *env, connect definitionConnector) *cobra.Command {
	var flags clusterFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "apply <file or folder>...",
		Short: "Bring definitions into the cluster; what does not compile stays outside",
		Example: "  tradewind def apply my-service.cue\n" +
			"  tradewind def apply -n team-a definitions/",
		Args: someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, err := readDefinitions(cmd.Context(), e, args)
			if err != nil {
				return err
			}
			cluster, err := connect(flags)
			if err != nil {
				return err
			}
			for _, d := range objects {
				d.object.SetNamespace(cmp.Or(flags.namespace, d.object.GetNamespace(), render.SystemNamespace))
				action, err := cluster.ApplyDefinition(cmd.Context(), d.object, force)
				if err != nil {
					return refused(err)
				}
				fmt.Fprintf(e.stdout, "%s %s/%s %s\n", d.object.GetKind(), d.object.GetNamespace(), d.object.GetName(), action)
			}
			return nil
		},
	}
	definitionFlags(cmd, &flags, `namespace (default the object's own, then "`+render.SystemNamespace+`", which all namespaces see)`)
	cmd.Flags().BoolVar(&force, "force-conflicts", false, "take fields over that another tool wrote")
	return cmd
}

func defVetCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "vet <file or folder>...",
		Short:   "Compile definitions and say what is wrong with them",
		Example: "  tradewind def vet my-service.cue",
		Args:    someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, err := readDefinitions(cmd.Context(), e, args)
			var last string
			for _, d := range objects {
				if d.file != last {
					fmt.Fprintf(e.stdout, "Validation %s succeed.\n", d.file)
				}
				last = d.file
			}
			return err
		},
	}
}

func defRenderCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "render <file or folder>...",
		Short:   "Show the objects that definition files become",
		Example: "  tradewind def render my-service.cue | kubectl apply -n team-a -f -",
		Args:    someFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, err := readDefinitions(cmd.Context(), e, args)
			if err != nil {
				return err
			}
			for i, d := range objects {
				raw, err := yaml.Marshal(d.object.Object)
				if err != nil {
					return fmt.Errorf("encoding %s: %w", d.object.GetName(), err)
				}
				if i > 0 {
					fmt.Fprintln(e.stdout, "---")
				}
				if _, err := e.stdout.Write(raw); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func someFiles(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageErrorf("want a file or a folder with definitions, or - for standard input")
	}
	return nil
}

func defListCmd(e *env, connect definitionConnector) *cobra.Command {
	var flags clusterFlags
	var typ string
	var offline bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the types there are: the cluster's and the built-in ones",
		Example: "  tradewind def list\n" +
			"  tradewind def list --type trait -n vela-system",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kinds, err := chosenTypes(typ)
			if err != nil {
				return err
			}
			var found []*render.Definition
			if !offline {
				if found, err = listDefinitions(cmd.Context(), connect, flags, kinds); err != nil {
					return err
				}
			}
			if flags.namespace == "" {
				found = append(found, builtins(kinds)...)
			}
			return definitionTable(found).writeTo(e.stdout)
		},
	}
	definitionFlags(cmd, &flags, "only the definitions in this namespace (default all, and the built-in ones)")
	cmd.Flags().StringVar(&typ, "type", "", "only component, trait, policy or workflow-step")
	cmd.Flags().BoolVar(&offline, "offline", false, "only the built-in ones, without a cluster")
	return cmd
}

func chosenTypes(given string) ([]render.Kind, error) {
	if given == "" {
		return definitionTypes, nil
	}
	if !slices.Contains(definitionTypes, render.Kind(given)) {
		return nil, usageErrorf("--type %q: want component, trait, policy or workflow-step", given)
	}
	return []render.Kind{render.Kind(given)}, nil
}

// listDefinitions reads the cluster's; one that cannot be used is among them.
func listDefinitions(ctx context.Context, connect definitionConnector, f clusterFlags, kinds []render.Kind) ([]*render.Definition, error) {
	cluster, err := connect(f)
	if err != nil {
		return nil, err
	}
	var out []*render.Definition
	for _, kind := range kinds {
		objects, err := cluster.ListDefinitions(ctx, kind.ObjectKind(), cmp.Or(f.namespace, metav1.NamespaceAll))
		if err != nil {
			return nil, refused(err)
		}
		for _, o := range objects {
			if def, _ := render.DefinitionFromObject(o.Object); def != nil {
				out = append(out, def)
			}
		}
	}
	return out, nil
}

func builtins(kinds []render.Kind) []*render.Definition {
	var out []*render.Definition
	for _, kind := range kinds {
		for _, name := range render.Builtins().Names(kind, "") {
			def, _ := render.Builtins().Definition(kind, "", name)
			out = append(out, def)
		}
	}
	return out
}

func definitionTable(found []*render.Definition) *table {
	slices.SortStableFunc(found, func(a, b *render.Definition) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Index(definitionTypes, a.Kind)-slices.Index(definitionTypes, b.Kind))
	})
	t := &table{wrap: listWidth}
	t.add("NAME", "TYPE", "NAMESPACE", "DESCRIPTION")
	for _, def := range found {
		description := def.Description
		if def.Err != nil {
			description = strings.TrimSpace(description + " (cannot be used: " + def.Err.Error() + ")")
		}
		t.add(def.Name, string(def.Kind), cmp.Or(def.Namespace, builtinNamespace), description)
	}
	return t
}
