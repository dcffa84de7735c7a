package imagepolicy_test

import (
	"fmt"

	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
)

func ExamplePolicy_Explain() {
	policy, err := imagepolicy.ParsePolicy(map[string]any{
		"filterTags": map[string]any{"pattern": `^main-(?P<ts>[0-9]+)$`, "extract": "$ts"},
		"policy":     map[string]any{"numerical": map[string]any{"order": "asc"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range policy.Explain([]string{"main-9", "main-10", "latest"}).Verdicts {
		fmt.Printf("%s: %s\n", v.Tag, v.Why)
	}
	// Output:
	// main-9: another one comes first
	// main-10: chosen
	// latest: does not match the pattern
}
