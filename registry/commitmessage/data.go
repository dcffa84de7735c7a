package commitmessage

import (
	"cmp"
	"slices"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/marker"
)

// Data is what a message tells: the changes of one commit, and for whom it is made.
type Data struct {
	Changes        []marker.Change
	Namespace, App string            // of the Application whose component asked
	Values         map[string]string // the user's own
}

// NamespacedName prints as namespace/name.
type NamespacedName struct{ Namespace, Name string }

func (n NamespacedName) String() string { return n.Namespace + "/" + n.Name }

// Image is an image as templates see it. Printed, it is image:tag.
type Image struct {
	Registry   string // ghcr.io
	Repository string // acme/shop
	Name       string // ghcr.io/acme/shop
	Identifier string // the tag
	Policy     NamespacedName

	text string
}

func (i Image) String() string { return i.text }

// ObjectFiles is what changed in a file.
type ObjectFiles struct{ Objects map[marker.Object][]Image }

// Change is one scalar that was changed.
type Change struct{ OldValue, NewValue, Setter string }

// updated is the older form of the data, that the templates of most users are written for.
type updated struct {
	Images  []Image
	Objects map[marker.Object][]Image
	Files   map[string]ObjectFiles
}

// changed is the newer form.
type changed struct {
	Changes     []Change
	Objects     map[marker.Object][]Change
	FileChanges map[string]map[marker.Object][]Change
}

// view is the top of what a template sees.
type view struct {
	Updated          updated
	Changed          changed
	AutomationObject NamespacedName
	Values           map[string]string
}

// newView sorts: the same changes make the same message, however they were found.
func newView(d Data) view {
	v := view{
		Updated: updated{Objects: map[marker.Object][]Image{}, Files: map[string]ObjectFiles{}},
		Changed: changed{Objects: map[marker.Object][]Change{}, FileChanges: map[string]map[marker.Object][]Change{}},

		AutomationObject: NamespacedName{d.Namespace, d.App},
		Values:           d.Values,
	}
	changes := slices.SortedFunc(slices.Values(d.Changes), func(a, b marker.Change) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	for _, c := range changes {
		image := imageOf(c.Choice)
		if !slices.ContainsFunc(v.Updated.Images, func(i Image) bool { return i.text == image.text }) {
			v.Updated.Images = append(v.Updated.Images, image)
		}
		v.Updated.Objects[c.Object] = add(v.Updated.Objects[c.Object], image)
		file, ok := v.Updated.Files[c.File]
		if !ok {
			file.Objects = map[marker.Object][]Image{}
			v.Updated.Files[c.File] = file
			v.Changed.FileChanges[c.File] = map[marker.Object][]Change{}
		}
		file.Objects[c.Object] = add(file.Objects[c.Object], image)

		change := Change{OldValue: c.Old, NewValue: c.New, Setter: c.Ref.String()}
		v.Changed.Changes = add(v.Changed.Changes, change)
		v.Changed.Objects[c.Object] = add(v.Changed.Objects[c.Object], change)
		v.Changed.FileChanges[c.File][c.Object] = add(v.Changed.FileChanges[c.File][c.Object], change)
	}
	slices.SortFunc(v.Updated.Images, func(a, b Image) int { return cmp.Compare(a.text, b.text) })
	return v
}

// add appends what is not there yet.
func add[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

func imageOf(c marker.Choice) Image {
	image := Image{
		Registry: c.Image.Registry(), Repository: c.Image.Repo, Name: c.Image.String(), Identifier: c.Tag,
		Policy: NamespacedName{c.Namespace, c.Policy},
	}
	image.text = registry.Reference{Image: c.Image, Tag: c.Tag}.String()
	return image
}
