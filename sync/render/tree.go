package render

import (
	"context"
	"errors"
	"io/fs"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render/internal/manifests"
	"github.com/tradewind-dev/tradewind/sync/render/internal/problem"
	"github.com/tradewind-dev/tradewind/sync/render/internal/template"
)

// fromTree reads the objects below the source's path.
func (r *Renderer) fromTree(ctx context.Context, c oam.Component, rc Context, src *Source, tree fs.FS) (*Component, error) {
	if tree == nil {
		return nil, &Error{Err: errors.New("no source tree was given")}
	}
	out := &Component{Name: c.Name, Type: c.Type}
	if err := r.checkProperties(ctx, c, out); err != nil {
		return nil, err
	}
	loaded, err := manifests.Load(ctx, tree, src.Path)
	if err != nil {
		return nil, err
	}
	if loaded, err = r.patch(ctx, c, rc, loaded, out); err != nil {
		return nil, err
	}
	for _, o := range loaded {
		object := Object{Unstructured: o.Unstructured, Origin: o.File, Line: o.Line}
		r.own(object, rc, src)
		out.Objects = append(out.Objects, object)
	}
	return out, checkDuplicates(out.Objects)
}

// checkProperties reports properties that the type's definition does not allow.
func (r *Renderer) checkProperties(ctx context.Context, c oam.Component, out *Component) error {
	def, _ := Builtins().Definition(KindComponent, "", c.Type) // such types are ours
	source := template.Template{Name: def.Name, Text: def.Template}
	return r.engines.Do(ctx, func(e *template.Engine) error {
		result, err := e.Evaluate(source, template.Input{Parameter: c.Properties, Context: map[string]any{}})
		if err != nil {
			return err
		}
		out.Hints = unread(def, c.Properties, e.Properties(source))
		return result.Complete()
	})
}

// place is where an object stands in the tree, for messages.
func (o Object) place() string { return problem.Place(o.Origin, o.Line) }
