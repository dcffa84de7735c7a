package pool

import (
	"bytes"
	"io/fs"
	"path"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// parent is the other end of a child's pipes: where files and definitions come from.
type parent struct{ wire *wire }

func (p parent) ask(m message) (message, error) {
	if err := p.wire.send(m); err != nil {
		return message{}, err
	}
	answer, err := p.wire.receive()
	if err != nil {
		return message{}, err
	}
	return answer, answer.Err.error()
}

func (p parent) askValue(op, name string, into any) error {
	answer, err := p.ask(message{Op: op, Name: name})
	if err != nil {
		return err
	}
	return decode(answer.Value, into)
}

// remoteFS is the parent's tree, read file by file: the parent keeps book of what was
// read, and what is never read is never sent.
type remoteFS struct{ parent parent }

var (
	_ fs.ReadDirFS  = remoteFS{}
	_ fs.ReadFileFS = remoteFS{}
	_ fs.StatFS     = remoteFS{}
	_ fs.ReadLinkFS = remoteFS{}
)

// fileInfo is what a listing says of one entry. Trees have no times.
type fileInfo struct {
	FileName string      `json:"name"`
	FileSize int64       `json:"size"`
	FileMode fs.FileMode `json:"mode"`
}

func (i fileInfo) Name() string       { return i.FileName }
func (i fileInfo) Size() int64        { return i.FileSize }
func (i fileInfo) Mode() fs.FileMode  { return i.FileMode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.FileMode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (f remoteFS) stat(op, name string) (fs.FileInfo, error) {
	var info fileInfo
	err := f.parent.askValue(op, name, &info)
	return info, pathError(op, name, err)
}

func (f remoteFS) Stat(name string) (fs.FileInfo, error) { return f.stat(opStat, name) }

func (f remoteFS) Lstat(name string) (fs.FileInfo, error) { return f.stat(opLstat, name) }

func (f remoteFS) ReadLink(name string) (string, error) {
	var target string
	err := f.parent.askValue(opReadLink, name, &target)
	return target, pathError(opReadLink, name, err)
}

func (f remoteFS) ReadFile(name string) ([]byte, error) {
	answer, err := f.parent.ask(message{Op: opRead, Name: name})
	return answer.Bytes, pathError(opRead, name, err)
}

func (f remoteFS) ReadDir(name string) ([]fs.DirEntry, error) {
	var infos []fileInfo
	if err := f.parent.askValue(opList, name, &infos); err != nil {
		return nil, pathError(opList, name, err)
	}
	entries := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		entries[i] = dirEntry{fileInfo: info, fs: f, path: path.Join(name, info.FileName)}
	}
	return entries, nil
}

// dirEntry is an entry of a listing; its size is asked for when somebody wants it.
type dirEntry struct {
	fileInfo
	fs   remoteFS
	path string
}

func (e dirEntry) Type() fs.FileMode          { return e.FileMode.Type() }
func (e dirEntry) Info() (fs.FileInfo, error) { return e.fs.Lstat(e.path) }

func (f remoteFS) Open(name string) (fs.File, error) {
	info, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &openDir{info: info, fs: f, path: name}, nil
	}
	data, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{bytes.NewReader(data), info}, nil
}

type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// openDir is only good for its entries.
type openDir struct {
	info fs.FileInfo
	fs   remoteFS
	path string
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: opRead, Path: d.path, Err: fs.ErrInvalid}
}
func (d *openDir) ReadDir(int) ([]fs.DirEntry, error) { return d.fs.ReadDir(d.path) }

// remoteDefinitions are the parent's. Those that come with Tradewind are in this program
// too, so only their names travel.
type remoteDefinitions struct {
	parent   parent
	builtins render.Definitions
}

// definitionAnswer is a definition, or that it is one that comes with Tradewind.
type definitionAnswer struct {
	Builtin    bool               `json:"builtin,omitempty"`
	Definition *render.Definition `json:"definition,omitempty"`
}

// typeQuery names a definition.
type typeQuery struct {
	Kind      render.Kind `json:"kind"`
	Namespace string      `json:"namespace"`
	Name      string      `json:"name,omitempty"` // none: all of them
}

func (d remoteDefinitions) Definition(kind render.Kind, namespace, name string) (*render.Definition, bool) {
	var answer definitionAnswer
	if err := d.ask(opDefinition, typeQuery{kind, namespace, name}, &answer); err != nil {
		return nil, false
	}
	if answer.Builtin {
		return d.builtins.Definition(kind, namespace, name)
	}
	return answer.Definition, answer.Definition != nil
}

func (d remoteDefinitions) Names(kind render.Kind, namespace string) []string {
	var names []string
	if err := d.ask(opNames, typeQuery{Kind: kind, Namespace: namespace}, &names); err != nil {
		return d.builtins.Names(kind, namespace)
	}
	return names
}

func (d remoteDefinitions) ask(op string, query typeQuery, into any) error {
	raw, err := encode(query)
	if err != nil {
		return err
	}
	answer, err := d.parent.ask(message{Op: op, Value: raw})
	if err != nil {
		return err
	}
	return decode(answer.Value, into)
}

// scope is whether a kind lives in a namespace, and whether that is known.
type scope struct {
	Namespaced bool `json:"namespaced"`
	Known      bool `json:"known"`
}

func (p parent) namespaced(gk schema.GroupKind) (namespaced, known bool) {
	var s scope
	if err := p.askValue(opNamespaced, gk.String(), &s); err != nil {
		return false, false
	}
	return s.Namespaced, s.Known
}
