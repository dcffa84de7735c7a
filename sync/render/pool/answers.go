package pool

import (
	"errors"
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tradewind-dev/tradewind/sync/render"
)

// answers is what the parent tells a child that asks: files of the one tree it may read,
// definitions, and what the cluster knows of kinds.
type answers struct {
	source render.Config
	tree   fs.FS
}

var errNoTree = errors.New("this piece of work has no source tree")

func (a answers) to(m message) message {
	value, data, err := a.find(m)
	out := message{Op: m.Op, Bytes: data, Err: failureOf(err)}
	if err == nil && value != nil {
		raw, err := encode(value)
		out.Value, out.Err = raw, failureOf(err)
	}
	return out
}

func (a answers) find(m message) (value any, data []byte, err error) {
	switch m.Op {
	case opDefinition, opNames:
		value, err = a.types(m)
		return value, nil, err
	case opNamespaced:
		return a.scope(m.Name), nil, nil
	}
	if a.tree == nil {
		return nil, nil, errNoTree
	}
	switch m.Op {
	case opRead:
		data, err = fs.ReadFile(a.tree, m.Name)
		return nil, data, plain(err)
	case opList:
		value, err = a.list(m.Name)
	case opStat:
		value, err = infoOf(fs.Stat(a.tree, m.Name))
	case opLstat:
		value, err = infoOf(fs.Lstat(a.tree, m.Name))
	case opReadLink:
		value, err = fs.ReadLink(a.tree, m.Name)
	default:
		err = fmt.Errorf("nothing answers %q", m.Op)
	}
	return value, nil, plain(err)
}

// plain takes the path off an error: the other side adds it again.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

func infoOf(info fs.FileInfo, err error) (fileInfo, error) {
	if err != nil {
		return fileInfo{}, err
	}
	return fileInfo{info.Name(), info.Size(), info.Mode()}, nil
}

func (a answers) list(name string) ([]fileInfo, error) {
	entries, err := fs.ReadDir(a.tree, name)
	infos := make([]fileInfo, 0, len(entries))
	for _, e := range entries {
		infos = append(infos, fileInfo{FileName: e.Name(), FileMode: e.Type()})
	}
	return infos, err
}

func (a answers) types(m message) (any, error) {
	var query typeQuery
	if err := decode(m.Value, &query); err != nil {
		return nil, err
	}
	if m.Op == opNames {
		return a.source.Definitions.Names(query.Kind, query.Namespace), nil
	}
	def, ok := a.source.Definitions.Definition(query.Kind, query.Namespace, query.Name)
	if !ok {
		return definitionAnswer{}, nil
	}
	if own, ok := render.Builtins().Definition(query.Kind, query.Namespace, query.Name); ok && own == def {
		return definitionAnswer{Builtin: true}, nil
	}
	return definitionAnswer{Definition: def}, nil
}

func (a answers) scope(kind string) scope {
	if a.source.Namespaced == nil {
		return scope{}
	}
	namespaced, known := a.source.Namespaced(schema.ParseGroupKind(kind))
	return scope{namespaced, known}
}
