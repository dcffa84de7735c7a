package render

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
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

// Builtins are the definitions that come with Tradewind.
var Builtins = sync.OnceValue(func() Definitions {
	set := definitionSet{}
	for _, dir := range []string{"definitions/components", "definitions/traits", "definitions/steps"} {
		entries, err := builtinFiles.ReadDir(dir)
		if err != nil {
			panic(err) // the files are part of the binary
		}
		for _, entry := range entries {
			name := path.Join(dir, entry.Name())
			data, err := builtinFiles.ReadFile(name)
			if err != nil {
				panic(err)
			}
			def, err := ParseDefinition(name, data)
			if err != nil {
				panic(err) // a test loads them all
			}
			set[DefinitionID{Kind: def.Kind, Name: def.Name}] = def
		}
	}
	return set
})

// definitionSet are definitions that every namespace sees.
type definitionSet map[DefinitionID]*Definition

func (s definitionSet) Definition(kind Kind, _, name string) (*Definition, bool) {
	def, ok := s[DefinitionID{Kind: kind, Name: name}]
	return def, ok
}

func (s definitionSet) Names(kind Kind, _ string) []string {
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
