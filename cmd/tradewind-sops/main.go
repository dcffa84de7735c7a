// Command tradewind-sops decrypts one file that was encrypted with SOPS, for the process
// that starts it. In goes one [request] as JSON on standard input, out comes one
// [response] on standard output. It is a program of its own because SOPS brings along the
// clients of every cloud, which Tradewind itself does without.
//
// Only age identities given in the request are used: no environment, no files, no agents
// and no key service over the network. What it decrypted it writes to standard output and
// nowhere else.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// maxRequest bounds what is read.
const maxRequest = 48 << 20

// request is a file as it stands in the tree.
type request struct {
	Path       string   `json:"path"` // its extension says which format it has
	Data       []byte   `json:"data"`
	Identities []string `json:"identities"` // AGE-SECRET-KEY-…
}

// response has the plaintext, or why there is none. The reason quotes nothing of either.
type response struct {
	Data  []byte `json:"data,omitempty"`
	Error string `json:"error,omitempty"`
	// Kind sorts the error: see the kinds in decrypt.go.
	Kind string `json:"kind,omitempty"`
}

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "tradewind-sops reads a request on standard input; it is started by tradewind serve")
		os.Exit(2)
	}
	if err := confine(); err != nil {
		fmt.Fprintln(os.Stderr, "tradewind-sops: giving up rights:", err)
		os.Exit(1)
	}
	if err := answer(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tradewind-sops:", err)
		os.Exit(1)
	}
}

func answer(in io.Reader, out io.Writer) error {
	var req request
	if err := json.NewDecoder(io.LimitReader(in, maxRequest)).Decode(&req); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	var res response
	data, err := decrypt(req)
	if err != nil {
		res.Error, res.Kind = err.Error(), kindOf(err)
	} else {
		res.Data = data
	}
	return json.NewEncoder(out).Encode(res)
}
