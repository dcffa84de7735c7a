package main

import (
	"context"
	"fmt"

	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// runAPIServer is the real kube-apiserver with RBAC, admission and priority-and-fairness
// as clusters have them.
func runAPIServer(ctx context.Context, l layout) error {
	cmd := app.NewAPIServerCommand()
	cmd.SetArgs([]string{
		"--etcd-servers=" + l.EtcdClient,
		"--tls-cert-file=" + l.path("apiserver.crt"),
		"--tls-private-key-file=" + l.path("apiserver.key"),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", l.APIPort),
		"--service-account-key-file=" + l.path("sa.key"),
		"--service-account-signing-key-file=" + l.path("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--token-auth-file=" + l.path("tokens.csv"),
		"--authorization-mode=RBAC",
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true",
	})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil // a drain would only delay the end of a throw-away cluster
	}
}
