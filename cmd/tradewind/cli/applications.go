package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tradewind-dev/tradewind/sync/apply"
	"github.com/tradewind-dev/tradewind/sync/oam"
)

// applications is where the commands that look get what they show.
type applications interface {
	ListApplications(ctx context.Context, namespace string) ([]*oam.Application, error)
	GetApplication(ctx context.Context, namespace, name string) (*oam.Application, error)
}

// connector reaches the applications of a cluster.
type connector func(clusterFlags) (applications, error)

func connectCluster(f clusterFlags) (applications, error) {
	return apply.Connect(apply.Config{Kubeconfig: f.kubeconfig, Context: f.context}, apply.Options{})
}

// clusterFlags say which cluster, with kubectl's names.
type clusterFlags struct{ kubeconfig, context, namespace string }

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, then ~/.kube/config)")
	cmd.Flags().StringVar(&f.context, "context", "", "context of the kubeconfig (default its current one)")
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", `namespace (default "`+defaultNamespace+`")`)
}

const defaultNamespace = "default"

// target splits "[<namespace>/]<name>".
func (f *clusterFlags) target(arg string) (namespace, name string, err error) {
	namespace, name, both := strings.Cut(arg, "/")
	if !both {
		namespace, name = cmp.Or(f.namespace, defaultNamespace), arg
	}
	switch {
	case namespace == "" || name == "" || strings.Contains(name, "/"):
		return "", "", usageErrorf("%q: want [<namespace>/]<name>", arg)
	case both && f.namespace != "" && f.namespace != namespace:
		return "", "", usageErrorf("%q is not in namespace %q: give it once", arg, f.namespace)
	}
	return namespace, name, nil
}

// find reads one Application; the error of one that is not there offers the nearest name.
// One whose spec does not fit comes with that error, for its status.
func find(ctx context.Context, apps applications, namespace, name string) (*oam.Application, error) {
	app, err := apps.GetApplication(ctx, namespace, name)
	if err == nil || !apierrors.IsNotFound(err) {
		return app, refused(err)
	}
	hint := "tradewind ls -A lists the Applications of every namespace"
	if others, err := apps.ListApplications(ctx, namespace); err != nil {
		return nil, refused(notInstalled(err))
	} else if near := nearestName(name, others); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return nil, &exitError{code: exitNotFound, hint: hint, err: fmt.Errorf("reading Application %s/%s: it does not exist", namespace, name)}
}

// list reads the Applications of a namespace, or of all, by namespace and name.
func list(ctx context.Context, apps applications, namespace string) ([]*oam.Application, error) {
	found, err := apps.ListApplications(ctx, namespace)
	if err != nil {
		return nil, refused(notInstalled(err))
	}
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b *oam.Application) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

// notInstalled says what a list that is "not found" means.
func notInstalled(err error) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	return &exitError{
		code: exitFailure, err: fmt.Errorf("the cluster does not know the kind %s %s", oam.APIVersion, oam.Kind),
		hint: "is this the right cluster? kubectl apply --server-side -k deployments/crds installs the definitions",
	}
}

// refused gives errors of missing rights their exit code.
func refused(err error) error {
	if err != nil && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) {
		return &exitError{code: exitForbidden, err: err, hint: "your kubeconfig's user needs the right to read applications.core.oam.dev"}
	}
	return err
}

// nearestName is the name that was most likely meant, or "".
func nearestName(given string, apps []*oam.Application) string {
	best, bestDistance := "", max(1, len(given)/3)+1
	for _, app := range apps {
		if d := editDistance(given, app.Name); d < bestDistance {
			best, bestDistance = app.Name, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

var errUnhealthy = errors.New("not healthy")
