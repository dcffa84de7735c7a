package bump

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
	"github.com/tradewind-dev/tradewind/registry/marker"
	"github.com/tradewind-dev/tradewind/sync/git"
)

// scanned is which files below a path hold a marker; it is true as long as the path has
// this id.
type scanned struct {
	id    string
	files []string
}

// edit carries decisions out on a tree and returns the new contents of the files that
// change. What it notes in the decisions replaces what an earlier attempt noted.
func (b *Bumper) edit(on *git.Tree, group []*decision, memo *branch) (map[string][]byte, error) {
	where := map[string][]*decision{} // file to the components whose path it is below
	for _, d := range group {
		d.markers, d.tags, d.changes, d.held, d.problem = 0, nil, nil, false, nil
		files, err := memo.marked(on, d.path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", d.path, err)
		}
		for _, file := range files {
			where[file] = append(where[file], d)
		}
	}
	w := editor{group: group, by: map[string]*decision{}}
	for _, d := range group {
		w.by[d.namespace+"/"+d.component] = d
	}
	names := slices.Sorted(maps.Keys(where))
	contents := map[string][]byte{}
	for _, file := range names {
		data, err := fs.ReadFile(on.FS(), file)
		if err != nil {
			return nil, err
		}
		contents[file] = data
		w.look(file, data, where[file])
	}
	for _, d := range group {
		d.held = d.acts() && d.reverted()
	}
	out := map[string][]byte{}
	for _, file := range names {
		if data, changed := w.write(file, contents[file], where[file]); changed {
			out[file] = data
		}
	}
	return out, nil
}

// marked lists the files below a path that could hold markers.
func (m *branch) marked(on *git.Tree, below string) ([]string, error) {
	id, ok := on.ID(below)
	if !ok {
		return nil, fmt.Errorf("%w: the branch has no such path", fs.ErrNotExist)
	}
	if known := m.scanned[below]; known.id == id {
		return known.files, nil
	}
	now := scanned{id: id}
	err := fs.WalkDir(on.FS(), below, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !marker.Eligible(path.Base(name)) {
			return err
		}
		data, err := fs.ReadFile(on.FS(), name)
		if err == nil && bytes.Contains(data, []byte(marker.Key)) {
			now.files = append(now.files, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.scanned[below] = now
	return now.files, nil
}

// reverted reports whether somebody took out what we wrote last: the policy still chooses
// it, it stands nowhere any more, and everywhere there is what was there before or
// something older. Anything else that people write, the policy replaces.
func (d *decision) reverted() bool {
	if d.markers == 0 || len(d.tags) == 0 || d.before.Committed != d.choice.Tag {
		return false
	}
	for _, tag := range d.tags {
		newer, err := d.auto.Policy.Newer(d.choice.Tag, tag)
		if tag == d.choice.Tag || tag != d.before.Previous && (err != nil || !newer) {
			return false
		}
	}
	return true
}

// editor goes through the files twice: to see what stands there, and to change it.
type editor struct {
	group []*decision
	by    map[string]*decision // namespace/component
}

// errIdle marks policies whose markers are left alone for now; it is not shown.
var errIdle = errors.New("not now")

// resolver knows the policies of the namespaces whose components cover a file.
func (w *editor) resolver(covering []*decision) marker.Resolver {
	inside := map[string]bool{}
	for _, d := range covering {
		inside[d.namespace] = true
	}
	var candidates []marker.Candidate
	for _, d := range w.group {
		if !inside[d.namespace] {
			continue
		}
		c := marker.Candidate{Namespace: d.namespace, App: d.app, Component: d.component, Choice: d.choice}
		if c.Choice.Namespace, c.Choice.Policy = d.namespace, d.component; !d.acts() {
			c.Err = errIdle
		}
		candidates = append(candidates, c)
	}
	return marker.Resolve(candidates)
}

func (w *editor) look(file string, data []byte, covering []*decision) {
	markers, err := marker.Find(data)
	if err != nil {
		for _, d := range covering {
			d.problem = fmt.Errorf("%s: %w", file, err)
		}
		return
	}
	resolve := w.resolver(covering)
	for _, m := range markers {
		choice, _, err := resolve(m.Ref)
		d := w.by[choice.Namespace+"/"+choice.Policy]
		switch {
		case d != nil:
			d.markers++
			d.saw(m)
		case err != nil:
			w.blame(m.Ref, fmt.Errorf("%s:%d: %w", file, m.Line, err))
		}
	}
}

// saw notes the tag in a marked scalar; other parts of an image say nothing of it. A
// digest that was written once stays where the policy wants that.
func (d *decision) saw(m marker.Marker) {
	ref := registry.Reference{}
	switch m.Ref.Field {
	case marker.Tag:
		ref.Tag = m.Value
	case marker.WholeImage:
		ref, _ = registry.ParseReference(m.Value) // what does not parse has no tag
	}
	if ref.Tag != "" {
		d.tags = append(d.tags, ref.Tag)
	}
	if ref.Digest != "" && ref.Tag == d.choice.Tag && d.auto.Reflect == imagepolicy.ReflectIfNotPresent {
		d.choice.Digest = ref.Digest
	}
}

func (w *editor) write(file string, data []byte, covering []*decision) (out []byte, changed bool) {
	result, err := marker.Edit(file, data, w.resolver(covering))
	if err != nil {
		for _, d := range covering {
			d.problem = err
		}
		return nil, false
	}
	for _, p := range result.Problems {
		if !errors.Is(p.Err, errIdle) {
			w.blame(p.Ref, fmt.Errorf("%s:%d: %w", file, p.Line, p.Err))
		}
	}
	for _, change := range result.Changes {
		if d := w.by[change.Choice.Namespace+"/"+change.Choice.Policy]; d != nil {
			d.changes = append(d.changes, change)
		}
	}
	return result.Out, len(result.Changes) > 0
}

// blame notes a marker's problem with every policy that it may mean.
func (w *editor) blame(ref marker.Ref, err error) {
	for _, d := range w.group {
		if d.namespace == ref.Namespace && (d.component == ref.Name || d.app == ref.Name) {
			d.problem = err
		}
	}
}

// unmarked says that nothing names the policy.
func (d *decision) unmarked() string {
	return fmt.Sprintf("no marker below %s names it: write # {%s: %q} behind the image", cleaned(d.path), marker.Key, marker.Ref{Namespace: d.namespace, Name: d.component}.String())
}

func cleaned(path string) string {
	if path == "." {
		return "the repository"
	}
	return "./" + strings.TrimPrefix(path, "./")
}
