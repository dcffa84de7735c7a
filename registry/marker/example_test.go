package marker_test

import (
	"fmt"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/marker"
)

func ExampleEdit() {
	const file = `tag: 1.9 # {"$imagepolicy": "default:shop:tag"}`
	image, err := registry.ParseImage("ghcr.io/acme/shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := marker.Edit("apps/shop.yaml", []byte(file), marker.Resolve([]marker.Candidate{
		{Namespace: "default", App: "fleet", Component: "shop", Choice: marker.Choice{Image: image, Tag: "1.10"}},
	}))
	fmt.Println(string(result.Out), err)
	// Output: tag: "1.10" # {"$imagepolicy": "default:shop:tag"} <nil>
}
