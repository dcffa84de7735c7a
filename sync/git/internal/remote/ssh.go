package remote

import (
	"bufio"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"

	"github.com/tradewind-dev/tradewind/sync/guard"
)

// ServerError is the first line a Git server wrote instead of an answer. The text comes
// from outside: match it, do not print it.
type ServerError struct{ Line string }

func (e *ServerError) Error() string { return "the server refused" }

// minRSABits is the smallest RSA key that is accepted, on either side.
const minRSABits = 3072

// sshSession is one run of a service over one connection. go-git's own SSH
// transport dials by itself and reads the user's SSH configuration, so it is not used.
type sshSession struct {
	client *ssh.Client
	run    *ssh.Session
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr <-chan string
	limit  int64
	refs   int64
	stop   func()
	asked  bool
}

func (d *Dialer) openSSH(ctx context.Context, ep Endpoint, auth Auth, svc service) (*sshSession, error) {
	cfg, err := sshConfig(ep, auth)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(ep.Host, ep.Port)
	leave, err := d.limits.Enter(ctx, address)
	if err != nil {
		return nil, err
	}
	conn, err := d.guard.Dial(ctx, "tcp", address)
	if err != nil {
		leave()
		return nil, err
	}
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	stop := func() { cut(); _ = conn.Close(); leave() }
	_ = conn.SetDeadline(time.Now().Add(guard.Timeout))
	c, chans, reqs, err := ssh.NewClientConn(conn, address, cfg)
	if err != nil {
		stop()
		return nil, handshakeError(ctx, err)
	}
	_ = conn.SetDeadline(time.Time{})
	s := &sshSession{client: ssh.NewClient(c, chans, reqs), limit: d.cfg.PackBytes, refs: d.cfg.RefBytes, stop: stop}
	if err := s.start(svc, ep.sshPath()); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

func (s *sshSession) start(svc service, path string) error {
	run, err := s.client.NewSession()
	if err != nil {
		return err
	}
	stdin, err := run.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := run.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := run.StderrPipe()
	if err != nil {
		return err
	}
	s.run, s.stdin, s.stdout, s.stderr = run, stdin, bufio.NewReader(stdout), firstLine(stderr)
	return run.Start(string(svc) + " " + shellQuote(path))
}

// firstLine reads what a server complains about and throws the rest away. The goroutine
// ends with the connection.
func firstLine(r io.Reader) <-chan string {
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(io.LimitReader(r, 4<<10)).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, r)
	}()
	return line
}

func (s *sshSession) Refs(ctx context.Context) (*packp.AdvRefs, error) {
	refs, err := decodeRefs(newLimitReader(s.stdout, s.refs, "the list of refs"))
	if err == nil {
		return refs, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, packp.ErrEmptyInput) || errors.Is(err, io.ErrUnexpectedEOF) {
		select {
		case line := <-s.stderr:
			return nil, &ServerError{line}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, err
}

func (s *sshSession) Pack(_ context.Context, req *packp.UploadPackRequest) (io.ReadCloser, error) {
	body, err := encodeRequest(req, true)
	if err != nil {
		return nil, err
	}
	s.asked = true
	if _, err := s.stdin.Write(body); err != nil {
		return nil, err
	}
	if err := s.stdin.Close(); err != nil {
		return nil, err
	}
	limited := newLimitReader(s.stdout, s.limit, "the pack")
	return decodePack(io.NopCloser(limited), req)
}

// Push implements [PushSession].
func (s *sshSession) Push(ctx context.Context, req *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	s.asked = true
	if err := req.Encode(s.stdin); err != nil {
		return nil, err
	}
	report, err := decodeReport(s.stdout)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return report, err
}

// Close tells a server that was only asked for its refs that there is nothing more.
func (s *sshSession) Close() error {
	defer s.stop()
	if !s.asked {
		_, _ = s.stdin.Write([]byte("0000"))
	}
	return nil
}

func sshConfig(ep Endpoint, auth Auth) (*ssh.ClientConfig, error) {
	if len(auth.Identity) == 0 || len(auth.KnownHosts) == 0 {
		return nil, &AuthError{"the URL is for SSH but there is no SSH key",
			"the secret needs keys identity and known_hosts"}
	}
	signer, err := parseIdentity(auth)
	if err != nil {
		return nil, err
	}
	hosts, err := parseKnownHosts(auth.KnownHosts)
	if err != nil {
		return nil, err
	}
	keys := hosts.keys(ep.Host, ep.Port)
	if len(keys) == 0 {
		return nil, &AuthError{fmt.Sprintf("known_hosts has no key for %s", knownName(ep.Host, ep.Port)),
			fmt.Sprintf("add the output of ssh-keyscan -p %s %s to known_hosts, after checking it", ep.Port, ep.Host)}
	}
	return &ssh.ClientConfig{
		User:              ep.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   keys.verify,
		HostKeyAlgorithms: keys.algorithms(),
		Timeout:           guard.Timeout,
	}, nil
}

func parseIdentity(auth Auth) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(auth.Identity)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(auth.Identity, []byte(auth.Password))
	}
	if err != nil { // the error could quote the key
		return nil, &AuthError{"identity is not a private key, or password does not unlock it",
			"put a PEM or OpenSSH private key under identity, and its passphrase under password"}
	}
	if bits := rsaBits(signer.PublicKey()); bits > 0 && bits < minRSABits {
		return nil, &AuthError{fmt.Sprintf("identity is an RSA key of %d bits", bits),
			fmt.Sprintf("use an Ed25519 key, or RSA with at least %d bits", minRSABits)}
	}
	return signer, nil
}

func rsaBits(key ssh.PublicKey) int {
	if c, ok := key.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok {
			return k.N.BitLen()
		}
	}
	return 0
}

// handshakeError separates a refused key from a connection that broke; x/crypto has no
// type for the former.
func handshakeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if refused, ok := errors.AsType[*AuthError](err); ok {
		return refused
	}
	if strings.Contains(err.Error(), "unable to authenticate") {
		return &AuthError{"the server does not accept the SSH key", "add the public key of identity to the repository's deploy keys"}
	}
	return err
}

// shellQuote is Git's own quoting (sq_quote_buf).
func shellQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}
