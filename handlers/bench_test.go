package handlers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

type nowhere struct{}

func (nowhere) Publish(context.Context, ...events.Event) (bool, error) { return false, nil }

// BenchmarkHooks posts a push as GitHub sends it, over connections that are kept.
func BenchmarkHooks(b *testing.B) {
	body, err := os.ReadFile("webhook/testdata/github/push.json")
	if err != nil {
		b.Fatal(err)
	}
	signature := webhook.SignGitHub([]byte(testSecret), body)
	for _, connections := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			w := newWorld(b, func(c *HooksConfig) {
				c.Publisher, c.Logger = nowhere{}, nil
				c.Limits.GlobalPerSecond = 1_000_000
				c.Limits.PerMinute, c.Limits.Burst = 60_000_000, 60_000_000
			})
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range connections {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						benchPost(b, client, w.url+hook, signature, string(body))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "posts/s")
		})
	}
}

func benchPost(b *testing.B, client *http.Client, url, signature, body string) {
	req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(body))
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {"push"}, "X-Hub-Signature-256": {signature},
		"X-Github-Delivery": {"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
	}
	res, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		b.Errorf("answered %d", res.StatusCode)
	}
}
