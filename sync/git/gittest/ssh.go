package gittest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// SSH serves the repositories of a Server over SSH, to one key.
type SSH struct {
	Addr     string
	HostKey  ssh.PublicKey
	Identity []byte // the key that is let in, PEM
	Sessions atomic.Int64

	root string
}

// NewSSH starts an SSH server that ends with the test.
func (s *Server) NewSSH(tb testing.TB) *SSH {
	tb.Helper()
	hostPublic, hostPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	userPublic, userPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(userPrivate, "")
	if err != nil {
		tb.Fatal(err)
	}
	host, err := ssh.NewSignerFromKey(hostPrivate)
	if err != nil {
		tb.Fatal(err)
	}
	hostKey, _ := ssh.NewPublicKey(hostPublic)
	userKey, _ := ssh.NewPublicKey(userPublic)
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "git" || string(key.Marshal()) != string(userKey.Marshal()) {
			return nil, io.EOF
		}
		return &ssh.Permissions{}, nil
	}}
	cfg.AddHostKey(host)
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	server := &SSH{Addr: listener.Addr().String(), HostKey: hostKey, Identity: pem.EncodeToMemory(block), root: s.root}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.serve(tb.Context(), conn, cfg)
		}
	}()
	return server
}

func (s *SSH) serve(ctx context.Context, conn net.Conn, cfg *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for open := range channels {
		channel, requests, err := open.Accept()
		if err != nil {
			return
		}
		s.Sessions.Add(1)
		go s.run(ctx, channel, requests)
	}
}

// run executes the one command a Git client sends.
func (s *SSH) run(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	for req := range requests {
		var payload struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &payload) != nil {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		path := strings.Trim(strings.TrimPrefix(payload.Command, "git-upload-pack "), "'")
		cmd := exec.CommandContext(ctx, "git", "upload-pack", s.root+path) //nolint:gosec // the client is the test
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		if stdin, err := cmd.StdinPipe(); err == nil { // Run would wait for the end of the client's input
			go func() { _, _ = io.Copy(stdin, channel); _ = stdin.Close() }()
		}
		_ = cmd.Run()
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{0}))
		_ = channel.Close()
	}
}

// KnownHosts is the line a user would put into known_hosts.
func (s *SSH) KnownHosts() []byte {
	host, port, _ := net.SplitHostPort(s.Addr)
	return []byte("[" + host + "]:" + port + " " + string(ssh.MarshalAuthorizedKey(s.HostKey)))
}
