package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tradewind-dev/tradewind/events"
	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

// maxEvent is what the queue stores of one event.
const maxEvent = 60 << 10

// parse turns the body into events, or says why there are none.
func (g *Gateway) parse(d *delivery) *answer {
	if d.endpoint.Suspended {
		return d.ignore(webhook.Ignored{Reason: webhook.Suspended, Message: "the receiver is suspended"})
	}
	body, err := d.body.Whole()
	if err != nil {
		return busy(err.Error())
	}
	parsed, err := d.endpoint.sender.Parse(d.r.Header, body)
	if err != nil {
		return malformedAs(err)
	}
	why := parsed.Ignored
	for i, change := range parsed.Changes {
		ev, ignored := g.event(d, i, change)
		if ignored.Reason != "" {
			why = ignored
			continue
		}
		d.events = append(d.events, ev)
	}
	if len(d.events) == 0 {
		return d.ignore(why)
	}
	return nil
}

// event binds a change to the receiver's scope.
func (g *Gateway) event(d *delivery, i int, c webhook.Change) (events.Event, webhook.Ignored) {
	if len(c.Images) > 0 {
		return g.imageEvent(d, i, c)
	}
	e := d.endpoint
	keys := c.Keys(g.aliases, e.sender.FoldsCase)
	in := e.scope.Within(keys, e.sender.FoldsCase)
	switch {
	case c.Ignored.Reason != "":
		return events.Event{}, c.Ignored
	case len(keys) == 0:
		return events.Event{}, webhook.Ignored{Reason: webhook.NoRepository, Message: "the payload has no URL of a repository"}
	case len(in) == 0:
		g.metrics.outOfScope.WithLabelValues(e.name()).Inc()
		return events.Event{}, webhook.Ignored{Reason: webhook.OutOfScope, Message: cut(keys[0]) + " is not in the scope of this receiver"}
	}
	push := c.Push
	push.Repos = in
	data, err := json.Marshal(push)
	if err != nil || len(data) > maxEvent {
		return events.Event{}, webhook.Ignored{Reason: webhook.TooLarge, Message: "the names in it are too long"}
	}
	if len(d.events) == 0 {
		d.about = []string{"repo", in[0], "ref", push.Ref, "commit", push.After}
	}
	return d.envelope(i, events.TypeSourcePushed, events.SourceKey(in[0], push.Ref), data), webhook.Ignored{}
}

// imageEvent is event for a pushed tag.
func (g *Gateway) imageEvent(d *delivery, i int, c webhook.Change) (events.Event, webhook.Ignored) {
	e := d.endpoint
	keys := c.ImageKeys(g.aliases)
	in := e.scope.WithinImages(keys)
	switch {
	case c.Ignored.Reason != "":
		return events.Event{}, c.Ignored
	case len(in) == 0:
		g.metrics.outOfScope.WithLabelValues(e.name()).Inc()
		return events.Event{}, webhook.Ignored{Reason: webhook.OutOfScope, Message: cut(keys[0]) + " is not in the scope of this receiver"}
	}
	image := c.Published
	image.Images = in
	data, err := json.Marshal(image)
	if err != nil || len(data) > maxEvent {
		return events.Event{}, webhook.Ignored{Reason: webhook.TooLarge, Message: "the names in it are too long"}
	}
	if len(d.events) == 0 {
		d.about = []string{"image", in[0] + ":" + image.Tag, "digest", image.Digest}
	}
	return d.envelope(i, events.TypeArtifactPublished, in[0]+":"+image.Tag, data), webhook.Ignored{}
}

// envelope is the i-th event of a post.
func (d *delivery) envelope(i int, kind events.Type, subject string, data []byte) events.Event {
	e := d.endpoint
	return events.Event{
		SpecVersion: events.SpecVersion, ID: d.messageID(i), Source: "/hooks/" + endpointID(e.Sender, e.name()),
		Type: kind, Subject: subject, Time: d.begun.UTC(), Receiver: e.name(), Delivery: d.id, Data: data,
	}
}

// publish stores the events before it answers. A client that has gone meanwhile does not
// stop it: the events are genuine, and the sender may not ask again.
func (g *Gateway) publish(d *delivery) *answer {
	patience := d.endpoint.sender.Patience
	patience = max(min(time.Second, patience), patience-g.now().Sub(d.begun))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.r.Context()), patience)
	defer cancel()
	again, err := g.publisher.Publish(ctx, d.events...)
	if err != nil {
		a := busy("the event could not be stored")
		a.err, a.close = fmt.Errorf("publishing: %w", err), false
		return a
	}
	a := &answer{status: http.StatusAccepted, result: accepted, body: taken{Status: "queued", Delivery: d.id, Event: d.event}}
	if again {
		a.result, a.body = duplicate, taken{Status: "duplicate", Delivery: d.id, Event: d.event}
		return a
	}
	if g.unwatched(d) {
		return d.ignore(webhook.Ignored{
			Reason:  webhook.Unwatched,
			Message: "no Application looks at " + cut(d.events[0].Subject) + " yet",
		})
	}
	return a
}

// unwatched says that nobody looks at any of it. The events are stored all the same: an
// Application may appear in this instant.
func (g *Gateway) unwatched(d *delivery) bool {
	if g.watchers == nil {
		return false
	}
	return !slices.ContainsFunc(d.events, g.watched)
}

func (g *Gateway) watched(ev events.Event) bool {
	if ev.Type == events.TypeArtifactPublished {
		image, err := ev.Published()
		return err != nil || g.watchers.WatchingImage(image.Images) != 0
	}
	push, err := ev.Pushed()
	return err != nil || g.watchers.Watching(push.Repos, push.Ref) != 0
}
