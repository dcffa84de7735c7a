package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tradewind-dev/tradewind/sync/render"
)

func defGetCmd(e *env, connect definitionConnector) *cobra.Command {
	var flags clusterFlags
	var typ, output string
	cmd := &cobra.Command{
		Use:     "get <name>",
		Short:   "Show a definition of the cluster",
		Example: "  tradewind def get my-service > my-service.cue",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(output, outCUE, outYAML, outJSON); err != nil {
				return err
			}
			kinds, err := chosenTypes(typ)
			if err != nil {
				return err
			}
			cluster, err := connect(flags)
			if err != nil {
				return err
			}
			object, err := getDefinition(cmd.Context(), cluster, kinds, flags.namespace, args[0])
			if err != nil {
				return err
			}
			if output != outCUE {
				return writeDocument(e.stdout, output, object.Object)
			}
			text, err := render.FormatDefinition(object.Object)
			if err != nil {
				return err
			}
			_, err = e.stdout.Write(text)
			return err
		},
	}
	definitionFlags(cmd, &flags, "namespace (default all)")
	cmd.Flags().StringVar(&typ, "type", "", "component, trait, policy or workflow-step, when several have the name")
	cmd.Flags().StringVarP(&output, "output", "o", outCUE, "cue, yaml or json")
	return cmd
}

// getDefinition finds the one definition of a name.
func getDefinition(ctx context.Context, cluster definitions, kinds []render.Kind, namespace, name string) (*unstructured.Unstructured, error) {
	found := map[string]*unstructured.Unstructured{}
	for _, kind := range kinds {
		objects, err := cluster.ListDefinitions(ctx, kind.ObjectKind(), namespace)
		if err != nil {
			return nil, refused(err)
		}
		for i := range objects {
			if o := &objects[i]; o.GetName() == name {
				found[fmt.Sprintf("%s in %s", kind, o.GetNamespace())] = withoutServer(o)
			}
		}
	}
	places := slices.Sorted(maps.Keys(found))
	switch len(places) {
	case 0:
		return nil, &exitError{code: exitNotFound, err: fmt.Errorf("reading definition %q: it is not in the cluster", name), hint: "tradewind def list shows what there is"}
	case 1:
		return found[places[0]], nil
	}
	return nil, &exitError{
		code: exitUsage, err: fmt.Errorf("reading definition %q: there are several: %s", name, strings.Join(places, ", ")), hint: "choose with --type and -n",
	}
}

// withoutServer is an object as its author could have written it.
func withoutServer(o *unstructured.Unstructured) *unstructured.Unstructured {
	metadata := map[string]any{"name": o.GetName()}
	if o.GetNamespace() != "" {
		metadata["namespace"] = o.GetNamespace()
	}
	for _, key := range []string{"labels", "annotations"} {
		if value, ok, _ := unstructured.NestedMap(o.Object, "metadata", key); ok && len(value) > 0 {
			metadata[key] = value
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": metadata, "spec": o.Object["spec"],
	}}
}

// catalogOf is what the cluster defines, as a worker sees it.
func catalogOf(ctx context.Context, cluster definitionLister) (*render.Catalog, error) {
	catalog := render.NewCatalog()
	kinds := []string{render.KindRevision}
	for _, kind := range definitionTypes {
		kinds = append(kinds, kind.ObjectKind())
	}
	for _, kind := range kinds {
		objects, err := cluster.ListDefinitions(ctx, kind, metav1.NamespaceAll)
		if err != nil {
			return nil, refused(err)
		}
		for i := range objects {
			catalog.Put(&objects[i])
		}
	}
	return catalog, nil
}
