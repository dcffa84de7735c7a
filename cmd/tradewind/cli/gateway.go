package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/tradewind-dev/tradewind/handlers"
)

// serveHooks runs the listener that forges post to.
func (s *server) serveHooks(ctx context.Context) error {
	receivers, err := readReceivers(s.cfg.Hooks.Receivers)
	if err != nil {
		return err
	}
	proxies, err := parsePrefixes(s.cfg.Hooks.TrustedProxies)
	if err != nil {
		return err
	}
	limits := handlers.DefaultLimits()
	l := s.cfg.Hooks.Limits
	limits.GlobalPerSecond, limits.PerMinute, limits.Burst, limits.UnsignedPerMinute = l.GlobalPerSecond, l.PerMinute, l.Burst, l.UnsignedPerMinute
	cfg := handlers.HooksConfig{
		Limits: limits, Receivers: receivers, Publisher: publisher{s.queue}, TrustedProxies: proxies, Closing: ctx.Done(),
		Logger: s.log.With("part", "hooks"), Registerer: s.registry,
	}
	if s.worker != nil {
		cfg.Watchers = watchers{s.worker.reconciler, s.worker.bumper}
	}
	gateway, err := handlers.Hooks(cfg)
	if err != nil {
		return err
	}
	return s.listen(ctx, "hooks", s.cfg.Hooks.Address, handlers.Server("", gateway))
}

// serveAdmin runs the listener for the node and the scraper.
func (s *server) serveAdmin(ctx context.Context) error {
	ready := append([]handlers.Check{{Name: "shutdown", Ask: func(context.Context) error {
		if ctx.Err() != nil {
			return errors.New("shutting down")
		}
		return nil
	}}}, s.checks...)
	return s.listen(ctx, "admin", s.cfg.Admin.Address, handlers.Server("", handlers.Admin(handlers.AdminConfig{
		Gatherer: s.registry, Ready: ready, Profiling: s.cfg.Admin.Profiling,
	})))
}

// readReceivers reads the secrets of the configured receivers from their files.
func readReceivers(configs []ReceiverConfig) ([]handlers.Receiver, error) {
	var out []handlers.Receiver
	for i, c := range configs {
		r := handlers.Receiver{ID: c.ID, Name: c.Name, Sender: c.Sender, Scope: c.Scope, Unsigned: c.Unsigned}
		if c.SecretFile != "" {
			content, err := os.ReadFile(c.SecretFile)
			if err != nil {
				return nil, usageErrorf("hooks.receivers[%d].secretFile: %w", i, err)
			}
			r.Secrets = append(r.Secrets, handlers.NewSecret(content))
		}
		if c.PreviousSecretFile != "" {
			content, err := os.ReadFile(c.PreviousSecretFile)
			if err != nil {
				return nil, usageErrorf("hooks.receivers[%d].previousSecretFile: %w", i, err)
			}
			r.Secrets = append(r.Secrets, handlers.NewSecret(content).Until(c.PreviousExpires))
		}
		if err := r.Validate(); err != nil {
			return nil, usageErrorf("hooks.receivers[%d]: %w", i, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parsePrefixes(cidrs []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, usageErrorf("hooks.trustedProxies: %w", fmt.Errorf("%q: want an address range such as 10.0.0.0/8", cidr))
		}
		out = append(out, prefix)
	}
	return out, nil
}
