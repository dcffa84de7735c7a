package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tradewind-dev/tradewind/integration/world/kube"
	"github.com/tradewind-dev/tradewind/integration/world/proc"
)

var poll = proc.Poll

// parseObject reads <kind> and <ns>/<name>, <name> of a cluster-scoped object, or
// <ns>?<selector> for all that a label selector selects.
func parseObject(kind, where string) kube.Object {
	if ns, selector, ok := strings.Cut(where, "?"); ok {
		return kube.Object{Kind: kind, Namespace: ns, Selector: selector}
	}
	ns, name, ok := strings.Cut(where, "/")
	if !ok {
		return kube.Object{Kind: kind, Name: where}
	}
	return kube.Object{Kind: kind, Namespace: ns, Name: name}
}

// applyFile: [!] apply <file> [<ns>]. As kubectl apply --server-side does; unknown fields
// are an error.
func applyFile(ctx context.Context, s *story, ts *testscript.TestScript, c call) error {
	if len(c.args) < 1 || len(c.args) > 2 {
		return usage("[!] apply <file> [<ns>]")
	}
	data, err := os.ReadFile(ts.MkAbs(c.args[0]))
	if err != nil {
		return err
	}
	ns := seedSpace
	if len(c.args) == 2 {
		ns = c.args[1]
	}
	_, err = s.world.Cluster.Apply(ctx, []byte(expand(string(data), ts.Getenv)), ns)
	return outcome(err, c)
}

// expand fills in $VARIABLES; names in small letters are CUE's ($returns) and stay.
func expand(text string, value func(string) string) string {
	return os.Expand(text, func(name string) string {
		if name != strings.ToUpper(name) {
			return "$" + name
		}
		return value(name)
	})
}

// patchObject: patch <kind> <ns>/<name> <json>. A merge patch by somebody else.
func patchObject(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(3, 3, "patch <kind> <ns>/<name> <json>"); err != nil {
		return err
	}
	return s.world.Cluster.Patch(ctx, parseObject(c.args[0], c.args[1]), c.args[2])
}

// deleteObject: delete <kind> <ns>/<name>.
func deleteObject(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(2, 2, "delete <kind> <ns>/<name>"); err != nil {
		return err
	}
	return s.world.Cluster.Delete(ctx, parseObject(c.args[0], c.args[1]))
}

// checkObject: [!] object <kind> <ns>/<name> <path> <expected>. The value is so, or with
// ! is not so, at this moment.
func checkObject(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if len(c.args) != 4 {
		return usage("[!] object <kind> <ns>/<name> <path> <expected|/regexp/>")
	}
	o := parseObject(c.args[0], c.args[1])
	value, err := s.world.Cluster.Value(ctx, o, c.args[2])
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	match, err := kube.Matcher(c.args[3])
	if err != nil {
		return err
	}
	if match(value) == c.neg {
		return fmt.Errorf("%s: %s is %q", o, c.args[2], value)
	}
	return nil
}

// awaitObject: await [-t 30s] <kind> <ns>/<name> [<path> <expected|/regexp/>].
func awaitObject(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if c.neg || len(c.args) != 2 && len(c.args) != 4 {
		return usage("await [-t 30s] <kind> <ns>/<name> [<path> <expected|/regexp/>]")
	}
	o, want := parseObject(c.args[0], c.args[1]), kube.Want{}
	if len(c.args) == 4 {
		var err error
		if want.Match, err = kube.Matcher(c.args[3]); err != nil {
			return err
		}
		want.Path = c.args[2]
	}
	if o.Selector == "" {
		return s.alive(s.world.Cluster.Await(ctx, o, want))
	}
	return poll(ctx, func() error {
		value, err := s.world.Cluster.Value(ctx, o, want.Path)
		if err == nil && !want.Match(value) {
			err = fmt.Errorf("%s: %s is %q", o, want.Path, value)
		}
		return err
	})
}

// alive puts first what explains every other failure.
func (s *story) alive(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(s.world.Tradewind.Alive(), err)
}

// awaitGone: gone [-t 30s] <kind> <ns>/<name>.
func awaitGone(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(2, 2, "gone [-t 30s] <kind> <ns>/<name>"); err != nil {
		return err
	}
	return s.alive(s.world.Cluster.Await(ctx, parseObject(c.args[0], c.args[1]), kube.Want{Gone: true}))
}

// checkAbsent: absent <kind> <ns>/<name>. It is not there at this moment.
func checkAbsent(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(2, 2, "absent <kind> <ns>/<name>"); err != nil {
		return err
	}
	o := parseObject(c.args[0], c.args[1])
	_, err := s.world.Cluster.Get(ctx, o)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%s is there", o)
	}
}

// remember: remember <name> <kind> <ns>/<name> <path>. For same.
func remember(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(4, 4, "remember <name> <kind> <ns>/<name> <path>"); err != nil {
		return err
	}
	o := parseObject(c.args[1], c.args[2])
	value, err := s.world.Cluster.Value(ctx, o, c.args[3])
	if err != nil {
		return err
	}
	if value == "" {
		return fmt.Errorf("%s has no %s to remember", o, c.args[3])
	}
	s.remembered[c.args[0]] = value
	return nil
}

// compareSame: [!] same <name> <kind> <ns>/<name> <path>. The value is what was
// remembered, or with ! is another.
func compareSame(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if len(c.args) != 4 {
		return usage("[!] same <name> <kind> <ns>/<name> <path>")
	}
	before, known := s.remembered[c.args[0]]
	if !known {
		return fmt.Errorf("nothing is remembered as %q", c.args[0])
	}
	o := parseObject(c.args[1], c.args[2])
	now, err := s.world.Cluster.Value(ctx, o, c.args[3])
	if err != nil {
		return err
	}
	if (now == before) == c.neg {
		return fmt.Errorf("%s: %s was %q and is %q", o, c.args[3], before, now)
	}
	return nil
}

// countRecords: count-records <ns>/<name> <reason-regexp> <cmp> <n>. Kubernetes Events
// about an Application, each counted as often as it says it happened; waits.
func countRecords(ctx context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(4, 4, "count-records <ns>/<name> <reason-regexp> <cmp> <n>"); err != nil {
		return err
	}
	re, err := regexp.Compile("^(?:" + c.args[1] + ")$")
	if err != nil {
		return err
	}
	ns, name, _ := strings.Cut(c.args[0], "/")
	return poll(ctx, func() error {
		count, err := s.world.Cluster.Records(ctx, ns, name, re.MatchString)
		if err != nil {
			return err
		}
		return compare(float64(count), c.args[2], c.args[3])
	})
}

// writes counts what tradewind has written to the API server; only a proxy can tell.
func (s *story) writes(resource string) int {
	if s.world.Proxy == nil {
		return 0
	}
	re := regexp.MustCompile("^(?:" + resource + ")$")
	return s.world.Proxy.Writes(func(r kube.Request) bool {
		return re.MatchString(r.Resource) && !slices.Contains(notWrites, r.Resource)
	})
}

// notWrites are questions in the form of a write.
var notWrites = []string{"selfsubjectaccessreviews", "subjectaccessreviews", "tokenreviews"}

// countRequests: requests <cmp> <n>. Writing requests of tradewind since mark.
func countRequests(_ context.Context, s *story, _ *testscript.TestScript, c call) error {
	if err := c.once(2, 2, "requests <cmp> <n>"); err != nil {
		return err
	}
	if s.world.Proxy == nil {
		return errors.New(`only "world proxy" counts requests`)
	}
	return compare(float64(s.writes(".*")-s.writesFrom), c.args[0], c.args[1])
}
