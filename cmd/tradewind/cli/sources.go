package cli

import (
	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/services/reconcile"
	"github.com/tradewind-dev/tradewind/sync/bucket"
	"github.com/tradewind-dev/tradewind/sync/sops"
)

// otherSources is what reads sources that are not Git.
func otherSources(cfg Config, images *registry.Client) reconcile.Sources {
	git := cfg.Git
	return reconcile.Sources{
		Registry:  images,
		Buckets:   bucket.New(bucket.Config{AllowedHosts: git.AllowedHosts, InsecureHosts: git.InsecureHosts, Setting: "git.allowedHosts", Timeout: git.Timeout}),
		Decrypter: sops.New(cfg.Render.SopsBinary),
	}
}

// registryClient is the one that all parts share, so that limits and pauses hold for all.
func registryClient(cfg RegistryConfig) *registry.Client {
	return registry.New(registry.Config{AllowedHosts: cfg.AllowedHosts, InsecureHosts: cfg.InsecureHosts, TokenRealms: cfg.TokenRealms})
}
