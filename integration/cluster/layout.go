package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
)

// layout is where everything is: written once by the parent, read by every child.
type layout struct {
	Dir        string `json:"dir"`
	EtcdClient string `json:"etcdClient"`
	EtcdPeer   string `json:"etcdPeer"`
	APIPort    int    `json:"apiPort"`
	Token      string `json:"token"`
	Kubeconfig string `json:"kubeconfig"`
	Nodes      int    `json:"nodes"`
}

func (l layout) path(name string) string { return filepath.Join(l.Dir, name) }
func (l layout) server() string          { return fmt.Sprintf("https://127.0.0.1:%d", l.APIPort) }

// newLayout chooses ports and secrets, and writes every file that the parts start from.
func newLayout(dir, kubeconfig string, nodes int) (layout, error) {
	l := layout{Dir: dir, Kubeconfig: kubeconfig, Nodes: nodes, Token: rand.Text()}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return l, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return l, fmt.Errorf("finding free ports: %w", err)
	}
	l.EtcdClient = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	l.EtcdPeer = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	l.APIPort = ports[2]
	tokens := l.Token + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(l.path("tokens.csv"), []byte(tokens), 0o600); err != nil {
		return l, err
	}
	if err := writeCredentials(l); err != nil {
		return l, fmt.Errorf("making certificates: %w", err)
	}
	if err := l.writeKubeconfig(); err != nil {
		return l, fmt.Errorf("writing the kubeconfig: %w", err)
	}
	data, err := json.Marshal(l)
	if err != nil {
		return l, err
	}
	return l, os.WriteFile(l.path("layout.json"), data, 0o600)
}

func readLayout(path string) (layout, error) {
	var l layout
	data, err := os.ReadFile(path)
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(data, &l)
}

// freePorts holds all listeners before it closes any, so that the ports differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// restConfig is for our own parts: no limit of ours on top of the API server's.
func (l layout) restConfig(userAgent string) (*rest.Config, error) {
	ca, err := os.ReadFile(l.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: l.server(), BearerToken: l.Token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca}, UserAgent: userAgent,
	}, nil
}

// writeKubeconfig makes the file that kubectl and everyone else uses.
func (l layout) writeKubeconfig() error {
	ca, err := os.ReadFile(l.path("ca.crt"))
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: tradewind
clusters:
- name: tradewind
  cluster: {server: %q, certificate-authority-data: %s}
contexts:
- name: tradewind
  context: {cluster: tradewind, user: admin, namespace: default}
users:
- name: admin
  user: {token: %s}
`, l.server(), base64.StdEncoding.EncodeToString(ca), l.Token)
	return os.WriteFile(l.Kubeconfig, []byte(config), 0o600)
}
