package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// layout is where everything is: written once by the parent, read by every child.
type layout struct {
	Dir        string `json:"dir"`
	EtcdClient string `json:"etcdClient"`
	EtcdPeer   string `json:"etcdPeer"`
	APIPort    int    `json:"apiPort"`
	Token      string `json:"token"`
	Kubeconfig string `json:"kubeconfig"`
}

func (l layout) path(name string) string { return filepath.Join(l.Dir, name) }
func (l layout) server() string          { return fmt.Sprintf("https://127.0.0.1:%d", l.APIPort) }

func newLayout(dir, kubeconfig string) (layout, error) {
	l := layout{Dir: dir, Kubeconfig: kubeconfig}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return l, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return l, err
	}
	l.EtcdClient = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	l.EtcdPeer = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	l.APIPort = ports[2]
	secret := make([]byte, 24)
	rand.Read(secret)
	l.Token = hex.EncodeToString(secret)
	tokens := l.Token + `,admin,admin,"system:masters"` + "\n"
	if err := os.WriteFile(l.path("tokens.csv"), []byte(tokens), 0o600); err != nil {
		return l, err
	}
	if err := writeServiceAccountKey(l.path("sa.key")); err != nil {
		return l, err
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

func writeServiceAccountKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// writeKubeconfig makes the file that kubectl and everyone else uses.
func (l layout) writeKubeconfig(ca []byte) error {
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
`, l.server(), encodeBase64(ca), l.Token)
	return os.WriteFile(l.Kubeconfig, []byte(config), 0o600)
}
