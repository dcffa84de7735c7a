package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tradewind-dev/tradewind/integration/world"
	"github.com/tradewind-dev/tradewind/integration/world/forge"
)

// postHook: hook <sender> <file> <status> [<event>]. The file, with variables filled in,
// signed as the sender does and posted to the world's receiver.
func postHook(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if err := c.once(3, 4, "hook <sender> <file> <status> [<event>]"); err != nil {
		return err
	}
	data, err := os.ReadFile(ts.MkAbs(c.args[1]))
	if err != nil {
		return err
	}
	body := []byte(os.Expand(string(data), ts.Getenv))
	event := "push"
	if len(c.args) == 4 {
		event = c.args[3]
	}
	header := forge.Sign(c.args[0], world.Secret, body)
	header.Set("Content-Type", "application/json")
	if c.args[0] == "github" {
		header = forge.GitHubHeader(event, world.Secret, body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.world.Tradewind.Webhook().URL, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header = header
	return answer(ts, req, c.args[2])
}

// postRaw: post <path> <file|-> <status> [<Header: value>…]. Unsigned and as it is.
func postRaw(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if c.neg || len(c.args) < 3 {
		return usage("post <path> <file|-> <status> [<Header: value>...]")
	}
	var body string
	if c.args[1] != "-" {
		body = ts.ReadFile(c.args[1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.world.Tradewind.HooksURL()+c.args[0], strings.NewReader(body))
	if err != nil {
		return err
	}
	for _, h := range c.args[3:] {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(name, strings.TrimSpace(value))
	}
	return answer(ts, req, c.args[2])
}

// answer compares the status, which may be a regexp, and leaves the body as stdout.
func answer(ts *testscript.TestScript, req *http.Request, want string) error {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	_, _ = ts.Stdout().Write(body)
	return status(res.StatusCode, want, string(body))
}

func status(got int, want, body string) error {
	re, err := regexp.Compile("^(?:" + want + ")$")
	if err != nil {
		return err
	}
	if !re.MatchString(fmt.Sprint(got)) {
		return fmt.Errorf("answered %d, want %s: %s", got, want, body)
	}
	return nil
}

// awaitAnswer: answered <status> [<body-regexp>]. Waits for the webhook of the next push
// that no answered has looked at, and says how it was answered.
func awaitAnswer(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 2, "answered <status> [<body-regexp>]"); err != nil {
		return err
	}
	d, i, err := s.world.Git.AwaitDelivery(ctx, s.answered, func(forge.Delivery) bool { return true })
	if err != nil {
		return s.alive(fmt.Errorf("waiting for delivery %d: %w", s.answered+1, err))
	}
	s.answered = i + 1
	return answeredAs(d, c.args)
}

func answeredAs(d forge.Delivery, want []string) error {
	if err := answeredWith(d.Status, d.Answer, want); err != nil {
		return fmt.Errorf("delivery %s of %s %s: %w", d.ID, d.Repo, d.Ref, err)
	}
	return nil
}

// answeredWith compares a status, and the body when a second expression is there.
func answeredWith(got int, answer string, want []string) error {
	err := status(got, want[0], answer)
	if err == nil && len(want) == 2 {
		var matched bool
		if matched, err = regexp.MatchString(want[1], answer); err == nil && !matched {
			err = errors.New("answered " + answer)
		}
	}
	return err
}

// redeliver: redeliver <status> [<body-regexp>]. The latest delivery once more, byte for
// byte under its own id.
func redeliver(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(1, 2, "redeliver <status> [<body-regexp>]"); err != nil {
		return err
	}
	d, err := s.world.Git.Redeliver(ctx)
	if err != nil {
		return err
	}
	s.answered++
	return answeredAs(d, c.args)
}
