//go:build stress

package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// cluster runs three servers that replicate, and returns their addresses.
func cluster(t *testing.T) (servers []*server.Server, address string) {
	t.Helper()
	var ports []int
	var routes []*url.URL
	for range 3 { // a server wants to know the routes before any of them exists
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: ln.Addr().String()})
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, NoSigs: true,
			JetStream: true, StoreDir: storeDir(t), SyncAlways: true, Routes: routes,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
		})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	}
	for _, s := range servers {
		s.Start()
	}
	for _, s := range servers {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server does not start")
		}
	}
	return servers, servers[0].ClientURL() + "," + servers[1].ClientURL() + "," + servers[2].ClientURL()
}

// TestClusterLosesAServer: the promises of a queue on three servers while one of them
// goes: no trigger lost, no two runs of a key at once.
func TestClusterLosesAServer(t *testing.T) {
	t.Parallel()
	servers, address := cluster(t)
	cfg := testConfig("")
	cfg.URL, cfg.Replicas = address, 3
	cfg.Stop, cfg.Dead = 2*time.Second, 3*time.Second
	c := newChecker(t)
	queues := []*Queue{open(t, cfg), open(t, cfg), open(t, cfg)}
	for _, q := range queues {
		during(t, func(ctx context.Context) error { return q.Work(ctx, 4, c.run) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 400 {
			tr := trigger(fmt.Sprint(i % 40))
			c.ask(tr.Key)
			for {
				err := queues[i%3].Trigger(t.Context(), tr)
				if err == nil {
					break
				}
				if errors.Is(err, context.Canceled) {
					return
				}
				spin(100 * time.Millisecond)
			}
			if i == 200 {
				go servers[2].Shutdown()
			}
		}
	}()
	<-done
	// Calls time out while leaders are elected, and runs begin again, several times.
	within(t, 2*time.Minute, "a run after every last trigger", func() bool { return len(c.missing()) == 0 })
	t.Logf("%d runs", c.count)
}
