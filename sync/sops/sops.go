// Package sops decrypts files that were encrypted with SOPS as they are read, through the
// program tradewind-sops: in goes a file system and age identities, out comes one in
// which such files are plain.
//
// It promises that plaintext and identities stay in the memory of this process and of a
// short-lived child without environment; nothing is kept once it was handed out. It
// recognises files by their sops block, leaves all others as they are, and never takes a
// file that it could not decrypt for a plain one.
package sops

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Program is the name of the program that decrypts.
const Program = "tradewind-sops"

// The limits of one file. The program sets its own for memory and processor.
const (
	maxFile = 4 << 20
	timeout = 20 * time.Second
	atOnce  = 2
)

// Identities are the private keys of one Secret. They print as ***.
type Identities struct{ keys []string }

func (i Identities) String() string { return "***" }

// GoString keeps keys out of %#v.
func (i Identities) GoString() string { return "***" }

// Fingerprint tells identities apart without telling them.
func (i Identities) Fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join(i.keys, "\n")))
	return hex.EncodeToString(sum[:8])
}

// keySuffix is that of the keys of a Secret that hold identities, as with Flux.
const keySuffix = ".agekey"

// identityPrefix is that of every native age identity. Those of plugins would start
// programs.
const identityPrefix = "AGE-SECRET-KEY-"

// IdentitiesFromSecret reads every key of a Secret's data that ends in .agekey, each a
// file as age-keygen writes it.
func IdentitiesFromSecret(data map[string][]byte) (Identities, error) {
	var out Identities
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !strings.HasSuffix(name, keySuffix) {
			continue
		}
		for line := range strings.Lines(string(data[name])) {
			line = strings.TrimSpace(line)
			switch {
			case line == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, identityPrefix):
				out.keys = append(out.keys, line)
			default:
				return Identities{}, fmt.Errorf("its key %s has a line that is no age identity", name)
			}
		}
	}
	if len(out.keys) == 0 {
		return Identities{}, fmt.Errorf("it has no age identity: want a key that ends in %s, with a line %s…", keySuffix, identityPrefix)
	}
	return out, nil
}

// Decrypter starts the program. It is safe for concurrent use.
type Decrypter struct {
	binary string
	slots  chan struct{}
}

// New returns a Decrypter that starts binary; empty means the one that lies beside the
// program that runs.
func New(binary string) *Decrypter {
	if binary == "" {
		if self, err := os.Executable(); err == nil {
			binary = filepath.Join(filepath.Dir(self), Program)
		}
	}
	return &Decrypter{binary: binary, slots: make(chan struct{}, atOnce)}
}

// MissingError says that the program is not where it should be.
type MissingError struct{ Path string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("decrypting needs the program %s, which is not at %q", Program, e.Path)
}

// Hint is what to do next.
func (e *MissingError) Hint() string {
	return "put " + Program + " of the same release beside tradewind, or set render.sopsBinary to where it is"
}

// Check reports, before anything is read, that the program is not there.
func (d *Decrypter) Check() error {
	info, err := os.Stat(d.binary)
	if d.binary == "" || err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return &MissingError{d.binary}
	}
	return nil
}

// request and response are what the program reads and writes; see cmd/tradewind-sops.
type request struct {
	Path       string   `json:"path"`
	Data       []byte   `json:"data"`
	Identities []string `json:"identities"`
}

type response struct {
	Data  []byte `json:"data"`
	Error string `json:"error"`
}

// decrypt has the program decrypt one file, or one document of it.
func (d *Decrypter) decrypt(ctx context.Context, name string, data []byte, keys Identities) ([]byte, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("an encrypted file of more than %d MiB", maxFile>>20)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	in, err := json.Marshal(request{Path: name, Data: data, Identities: keys.keys})
	if err != nil {
		return nil, err
	}
	out := &limited{left: 4 * maxFile}
	cmd := exec.CommandContext(ctx, d.binary) //nolint:gosec // the operator's program, not the user's
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, string(filepath.Separator), time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, io.Discard
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s was stopped: %w", Program, ctx.Err())
		}
		return nil, fmt.Errorf("running %s: %w", Program, err)
	}
	var res response
	if err := json.Unmarshal(out.buffer.Bytes(), &res); err != nil {
		return nil, fmt.Errorf("%s gave no answer", Program) // the error could quote it
	}
	if res.Error != "" {
		return nil, errors.New(res.Error)
	}
	return res.Data, nil
}

// limited is a buffer that refuses to grow without end. It has no other way in than Write.
type limited struct {
	buffer bytes.Buffer
	left   int
}

var errTooMuch = errors.New("too much output")

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errTooMuch
	}
	return l.buffer.Write(p)
}
