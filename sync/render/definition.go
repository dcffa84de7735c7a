package render

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
)

// Kind is what a definition defines.
type Kind string

// The kinds of definitions.
const (
	KindComponent    Kind = "component"
	KindTrait        Kind = "trait"
	KindPolicy       Kind = "policy"
	KindWorkflowStep Kind = "workflow-step"
)

// Definition is a type: a CUE template and how to read health from the live objects. It
// must not be changed once a [Definitions] returns it.
type Definition struct {
	Kind         Kind
	Namespace    string // where it was found; empty for those that come with Tradewind
	Name         string
	Description  string
	Alias        string
	Version      string   // a semantic version that "name@1.2" may ask for
	Workload     Workload // of a component type
	Template     string   // CUE: parameter, output, outputs, patch …
	HealthPolicy string   // CUE that yields isHealth: bool
	CustomStatus string   // CUE that yields message: string
	Details      string   // CUE whose fields are shown beside the message
	Stage        string   // of a trait: when its objects are applied; empty means StageDefault

	// These inform people; nothing is refused because of them.
	AppliesTo     []string // workloads a trait is for, such as deployments.apps
	ConflictsWith []string // other traits
	PodDisruptive bool     // a change of the trait restarts pods

	ManageHealthCheck bool   // of a policy: what it makes is waited for
	Hint              string // what to write instead, for spellings that are kept for old users

	// Err is why a definition that is there cannot be used.
	Err error `json:"-"`
}

// The stages of a trait: before the workload, with it, and when it is healthy.
const (
	StagePre     = "PreDispatch"
	StageDefault = "DefaultDispatch"
	StagePost    = "PostDispatch"
)

// Workload is the kind of a component's main object. The type Autodetects means: what
// the template makes.
type Workload struct{ APIVersion, Kind, Type string }

// Autodetects is a workload type of KubeVela's.
const Autodetects = "autodetects.core.oam.dev"

// Definitions resolves a type as an Application in a namespace sees it.
type Definitions interface {
	// Definition finds a type by its name, which may be pinned: "web@v3", "web@1.2".
	Definition(kind Kind, namespace, name string) (*Definition, bool)
	// Names lists the known types of a kind, sorted and without pins.
	Names(kind Kind, namespace string) []string
}

//go:embed definitions/components/*.cue definitions/traits/*.cue definitions/steps/*.cue
var builtinFiles embed.FS

// builtinDirs is where the built-in definitions of each kind are, a file each that is
// called as the type is.
var builtinDirs = map[Kind]string{
	KindComponent: "definitions/components", KindTrait: "definitions/traits", KindWorkflowStep: "definitions/steps",
}

// Builtins are the definitions that come with Tradewind. Each is parsed when it is asked
// for first: a render process needs few of them, and soon.
var Builtins = sync.OnceValue(func() Definitions {
	set := builtins{}
	for kind, dir := range builtinDirs {
		entries, err := builtinFiles.ReadDir(dir)
		if err != nil {
			panic(err) // the files are part of the binary
		}
		for _, entry := range entries {
			file := path.Join(dir, entry.Name())
			set[DefinitionID{Kind: kind, Name: strings.TrimSuffix(entry.Name(), ".cue")}] = sync.OnceValue(func() *Definition {
				return builtin(file)
			})
		}
	}
	return set
})

func builtin(file string) *Definition {
	data, err := builtinFiles.ReadFile(file)
	if err != nil {
		panic(err)
	}
	def, err := ParseDefinition(file, data)
	if err != nil {
		panic(err) // a test loads them all
	}
	return def
}

// builtins are definitions that every namespace sees.
type builtins map[DefinitionID]func() *Definition

func (s builtins) Definition(kind Kind, _, name string) (*Definition, bool) {
	load, ok := s[DefinitionID{Kind: kind, Name: name}]
	if !ok {
		return nil, false
	}
	return load(), true
}

func (s builtins) Names(kind Kind, _ string) []string {
	var names []string
	for id := range s {
		if id.Kind == kind {
			names = append(names, id.Name)
		}
	}
	slices.Sort(names)
	return names
}

// hash tells two definitions apart that would render or read health differently.
func (def *Definition) hash() string {
	h := sha256.New()
	for _, part := range []string{
		string(def.Kind), def.Namespace, def.Name, def.Template, def.HealthPolicy, def.CustomStatus, def.Details, def.Stage, def.Hint, fmt.Sprint(def.Workload, def.Err),
	} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
