package reconcile

import (
	"fmt"
	"testing"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// TestTypes: exactly those Applications are found that use a type and see the definition.
func TestTypes(t *testing.T) {
	t.Parallel()
	x := newTypes()
	a, b := events.AppKey("team-a", "shop"), events.AppKey("team-b", "shop")
	x.set(a, oam.Spec{
		Components: []oam.Component{{Name: "x", Type: "web", Traits: []oam.Trait{{Type: "own@v2"}}}, {Name: "y", Type: "web@1.2"}},
		Policies:   []oam.Policy{{Type: "quota"}},
		Workflow:   &oam.Workflow{Steps: []oam.Step{{Type: "step-group", SubSteps: []oam.Step{{Type: "tell"}}}}},
	})
	x.set(b, oam.Spec{Components: []oam.Component{{Name: "x", Type: "web"}}})
	tests := []struct {
		kind            render.Kind
		namespace, name string
		want            []events.Key
	}{
		{render.KindComponent, "vela-system", "web", []events.Key{a, b}},
		{render.KindComponent, "team-a", "web", []events.Key{a}},
		{render.KindComponent, "team-c", "web", nil},
		{render.KindTrait, "vela-system", "web", nil},
		{render.KindTrait, "vela-system", "own", []events.Key{a}},
		{render.KindPolicy, "team-a", "quota", []events.Key{a}},
		{render.KindWorkflowStep, "vela-system", "tell", []events.Key{a}},
		{render.KindWorkflowStep, "vela-system", "step-group", []events.Key{a}},
	}
	for _, tt := range tests {
		if got := x.using(render.DefinitionID{Kind: tt.kind, Namespace: tt.namespace, Name: tt.name}); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s %s/%s is used by %v, want %v", tt.kind, tt.namespace, tt.name, got, tt.want)
		}
	}
	x.set(a, oam.Spec{Components: []oam.Component{{Name: "x", Type: "other"}}})
	x.set(b, oam.Spec{})
	if got := x.using(render.DefinitionID{Kind: render.KindComponent, Namespace: "vela-system", Name: "web"}); len(got) > 0 {
		t.Errorf("web is still used by %v", got)
	}
	if len(x.users) != 1 || len(x.usedBy) != 1 {
		t.Errorf("it keeps %v and %v", x.users, x.usedBy)
	}
}
