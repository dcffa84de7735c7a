package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/handlers/webhook"
)

type sendOptions struct {
	url, secretFile, repo, ref, before, after string
}

func newSendCmd(e *env) *cobra.Command {
	send := &cobra.Command{
		Use:     "send",
		Short:   "Post a webhook as a forge would",
		Long:    "Post a webhook as a forge would, to try a receiver before the forge is set up.",
		Example: "  tradewind send github push --help",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	github := &cobra.Command{
		Use:     "github",
		Short:   "Post what GitHub would",
		Example: "  tradewind send github push --help",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	github.AddCommand(newSendGitHubPushCmd(e))
	send.AddCommand(github)
	return send
}

func newSendGitHubPushCmd(e *env) *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Post a signed push event",
		Long: "Post a push event, signed as GitHub signs it, and show the answer. The commits need\n" +
			"not exist: a receiver takes the event as a reason to look at the repository itself.\n\n" +
			"The exit code is 0 when the receiver took it (2xx).",
		Example: "  tradewind send github push --url http://localhost:9292/hooks/github/main \\\n" +
			"    --secret-file webhook-secret --repo https://github.com/acme/config.git",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sendGitHubPush(cmd.Context(), e, o)
		},
	}
	cmd.Flags().StringVar(&o.url, "url", "", "address of the receiver, <hooks listener>/hooks/github/<id>")
	cmd.Flags().StringVar(&o.secretFile, "secret-file", "", "file with the receiver's secret")
	cmd.Flags().StringVar(&o.repo, "repo", "", "clone URL of the repository, without credentials")
	cmd.Flags().StringVar(&o.ref, "ref", "refs/heads/main", "the full ref that moved")
	cmd.Flags().StringVar(&o.before, "before", "", "commit before the push (default a made-up one; zeros for a new ref)")
	cmd.Flags().StringVar(&o.after, "after", "", "commit after the push (default a made-up one; zeros for a deleted ref)")
	return cmd
}

func sendGitHubPush(ctx context.Context, e *env, o sendOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	secret, err := readSecret(o.secretFile)
	if err != nil {
		return err
	}
	body, header := webhook.GitHubPush(o.repo, o.ref, given(o.before), given(o.after))
	header.Set("X-Hub-Signature-256", webhook.SignGitHub(secret, body))
	return post(ctx, e, o.url, header, body)
}

var (
	objectID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	noObject = regexp.MustCompile(`^0+$`)
)

func (o sendOptions) check() error {
	for _, f := range [][2]string{{"url", o.url}, {"secret-file", o.secretFile}, {"repo", o.repo}} {
		if f[1] == "" {
			return usageErrorf("--%s is missing", f[0])
		}
	}
	if u, err := url.Parse(o.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageErrorf("--url: want http:// or https:// and the address of the receiver")
	}
	if u, err := url.Parse(o.repo); err == nil && u.User != nil && (u.Scheme == "http" || u.Scheme == "https") {
		return usageErrorf("--repo: leave the credentials out, they would be posted")
	}
	if !strings.HasPrefix(o.ref, "refs/") {
		return usageErrorf("--ref %q: want the full name, such as refs/heads/main", o.ref)
	}
	for _, f := range [][2]string{{"before", o.before}, {"after", o.after}} {
		if f[1] != "" && !objectID.MatchString(f[1]) {
			return usageErrorf("--%s %q: want a full commit id, 40 or 64 lower-case hex digits", f[0], f[1])
		}
	}
	return nil
}

// given makes up an id where none was given, and turns git's zeros into none.
func given(id string) string {
	if noObject.MatchString(id) {
		return ""
	}
	var made [20]byte
	_, _ = rand.Read(made[:]) // never fails
	return cmp.Or(id, hex.EncodeToString(made[:]))
}

// readSecret leaves out one newline at the end, as the receiver does.
func readSecret(file string) ([]byte, error) {
	secret, err := os.ReadFile(file)
	if err != nil {
		return nil, usageErrorf("reading --secret-file: %w", err)
	}
	if cut, ok := bytes.CutSuffix(secret, []byte("\n")); ok {
		secret = bytes.TrimSuffix(cut, []byte("\r"))
	}
	if len(secret) == 0 {
		return nil, usageErrorf("reading --secret-file: %s is empty", file)
	}
	return secret, nil
}

const (
	postTimeout = 30 * time.Second
	maxAnswer   = 64 << 10
)

// post prints what the receiver answers. Like a forge, it follows no redirect.
func post(ctx context.Context, e *env, address string, header http.Header, body []byte) error {
	client := &http.Client{
		Timeout:       postTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return usageErrorf("--url: %w", err)
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return &exitError{code: exitFailure, err: fmt.Errorf("posting the webhook: %w", err), hint: "is tradewind serve running there, and is this its hooks address?"}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintln(e.stdout, resp.Status)
	if text := strings.TrimSpace(printable(string(answer))); text != "" {
		fmt.Fprintln(e.stdout, text)
	}
	if resp.StatusCode/100 != 2 {
		return &exitError{code: exitFailure, quiet: true, err: errors.New("the receiver refused: " + resp.Status)}
	}
	return nil
}
