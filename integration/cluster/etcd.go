package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd serves until ctx ends. Nothing is synced to disk: the data lives as long as
// the test does.
func runEtcd(ctx context.Context, l layout) error {
	cfg := embed.NewConfig()
	cfg.Dir = l.path("etcd")
	cfg.LogLevel = "warn"
	cfg.UnsafeNoFsync = true
	client, err := url.Parse(l.EtcdClient)
	if err != nil {
		return err
	}
	peer, err := url.Parse(l.EtcdPeer)
	if err != nil {
		return err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return errors.New("etcd was not ready within a minute")
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	}
}
