package pool

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// message is one line of the talk between the two sides. The parent asks for a piece of
// work; while the child works it may ask for files and definitions, one at a time, and
// gets one answer each; with opDone it gives the result.
type message struct {
	Op    string          `json:"op"`
	Name  string          `json:"name,omitempty"`
	Tree  bool            `json:"tree,omitempty"` // there is one to ask for
	Value json.RawMessage `json:"value,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"` // of a file
	Err   *failure        `json:"err,omitempty"`
}

// What a parent asks for, how a child ends its work, and what it asks for meanwhile.
const (
	opWork       = "work"
	opCall       = "call"
	opDone       = "done"
	opRead       = "read"
	opList       = "list"
	opStat       = "stat"
	opLstat      = "lstat"
	opReadLink   = "readlink"
	opDefinition = "definition"
	opNames      = "names"
	opNamespaced = "namespaced"
)

// maxMessage bounds one message: the largest output, encoded.
const maxMessage = 96 << 20

// wire carries messages over a pair of pipes. Each side sends only when it is its turn,
// so it needs no lock.
type wire struct {
	r *bufio.Reader
	w *bufio.Writer
}

func newWire(r io.Reader, w io.Writer) *wire {
	return &wire{bufio.NewReaderSize(r, 64<<10), bufio.NewWriterSize(w, 64<<10)}
}

func (w *wire) send(m message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(raw) > maxMessage {
		return &limitError{fmt.Sprintf("%d MiB of output, at most %d MiB", len(raw)>>20, maxMessage>>20)}
	}
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(raw))) //nolint:gosec // bounded above
	if _, err := w.w.Write(size[:]); err != nil {
		return err
	}
	if _, err := w.w.Write(raw); err != nil {
		return err
	}
	return w.w.Flush()
}

func (w *wire) receive() (message, error) {
	var m message
	var size [4]byte
	if _, err := io.ReadFull(w.r, size[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return m, &limitError{fmt.Sprintf("a message of %d MiB, at most %d MiB", n>>20, maxMessage>>20)}
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(w.r, raw); err != nil {
		return m, err
	}
	return m, json.Unmarshal(raw, &m)
}

// limitError says which limit was reached.
type limitError struct{ what string }

func (e *limitError) Error() string { return e.what }

// encode keeps what json.Unmarshal alone would lose: [decode] reads whole numbers back
// as whole numbers.
func encode(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding for the render process: %w", err)
	}
	return raw, nil
}

func decode(raw json.RawMessage, into any) error {
	if err := utiljson.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("decoding from the render process: %w", err)
	}
	return nil
}

// failure is an error on its way through a pipe. Kind is what errors.Is shall find.
type failure struct {
	Kind    string        `json:"kind,omitempty"`
	Message string        `json:"message"`
	Hint    string        `json:"hint,omitempty"`
	Render  *render.Error `json:"render,omitempty"` // its Err is Message
}

// kinds are the errors that callers tell apart.
var kinds = map[string]error{
	"notExist": fs.ErrNotExist, "invalid": fs.ErrInvalid,
	"pathNotFound": render.ErrPathNotFound, "empty": render.ErrEmpty,
	"canceled": context.Canceled, "deadline": context.DeadlineExceeded,
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	out := &failure{Message: err.Error()}
	for kind, target := range kinds {
		if errors.Is(err, target) {
			out.Kind = kind
		}
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		out.Hint = hinted.Hint()
	}
	if e, ok := errors.AsType[*render.Error](err); ok {
		copied := *e
		copied.Err = nil
		out.Render, out.Message = &copied, e.Err.Error()
	}
	return out
}

func (f *failure) error() error {
	if f == nil {
		return nil
	}
	var err error = &carried{f.Message, f.Hint, kinds[f.Kind]}
	if f.Render != nil {
		f.Render.Err = err
		return f.Render
	}
	return err
}

// carried is an error of the other side.
type carried struct {
	message, hint string
	is            error
}

func (e *carried) Error() string { return e.message }

// Hint says what to do next, or is empty.
func (e *carried) Hint() string { return e.hint }

// Unwrap is what the error was on the other side, nil when nobody asks for it by name.
func (e *carried) Unwrap() error { return e.is }
