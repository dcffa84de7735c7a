package marker

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradewind-dev/tradewind/registry"
)

const aDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func choice(t testing.TB, image, tag, digest string) Choice {
	t.Helper()
	parsed, err := registry.ParseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	return Choice{Image: parsed, Tag: tag, Digest: digest, Namespace: "default", Policy: "apps"}
}

// reference is the policy default:apps of the reference, and one whose digest is known.
func reference(t testing.TB) Resolver {
	t.Helper()
	return Resolve([]Candidate{
		{Namespace: "default", App: "fleet", Component: "apps", Choice: choice(t, "ghcr.io/x/y", "2.0", "")},
		{Namespace: "default", App: "fleet", Component: "pinned", Choice: choice(t, "ghcr.io/x/y", "2.0", aDigest)},
		{Namespace: "default", App: "text", Component: "words", Choice: choice(t, "nginx", "stable", "")},
		{Namespace: "default", App: "down", Component: "down", Err: errors.New("registry unavailable")},
	})
}

func TestEditLine(t *testing.T) {
	t.Parallel()
	const same = ""
	for _, test := range []struct{ name, in, want string }{
		{"plain", `image: ghcr.io/x/y:1.0 # {"$imagepolicy": "default:apps"}`, `image: ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"double quotes", `image: "ghcr.io/x/y:1.0" # {"$imagepolicy":"default:apps"}`, `image: "ghcr.io/x/y:2.0" # {"$imagepolicy":"default:apps"}`},
		{"single quotes", `image: 'ghcr.io/x/y:1.0' # {"$imagepolicy":"default:apps"}`, `image: 'ghcr.io/x/y:2.0' # {"$imagepolicy":"default:apps"}`},
		{"tag that reads as a number", `tag: 1.0 # {"$imagepolicy": "default:apps:tag"}`, `tag: "2.0" # {"$imagepolicy": "default:apps:tag"}`},
		{"tag in single quotes", `tag: '1.0' # {"$imagepolicy": "default:apps:tag"}`, `tag: '2.0' # {"$imagepolicy": "default:apps:tag"}`},
		{"tag that is a word", `tag: 1.0 # {"$imagepolicy": "default:words:tag"}`, `tag: stable # {"$imagepolicy": "default:words:tag"}`},
		{"repository", `repository: old # {"$imagepolicy": "default:apps:name"}`, `repository: ghcr.io/x/y # {"$imagepolicy": "default:apps:name"}`},
		{"short name as written", `image: old # {"$imagepolicy": "default:words"}`, `image: nginx:stable # {"$imagepolicy": "default:words"}`},
		{"digest", `digest: old # {"$imagepolicy": "default:pinned:digest"}`, `digest: ` + aDigest + ` # {"$imagepolicy": "default:pinned:digest"}`},
		{"whole with digest", `image: a:1 # {"$imagepolicy": "default:pinned"}`, `image: ghcr.io/x/y:2.0@` + aDigest + ` # {"$imagepolicy": "default:pinned"}`},
		{"list item", `- ghcr.io/x/y:1.0 # {"$imagepolicy": "default:apps"}`, `- ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"map in a list", `- image: y:1 # {"$imagepolicy": "default:apps"}`, `- image: ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"list in a list", `- - y:1 # {"$imagepolicy": "default:apps"}`, `- - ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"bare document", `y:1 # {"$imagepolicy": "default:apps"}`, `ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"spaces and keys", `image: y:1   #   { "other": [1], "$imagepolicy" : "default:apps" }  `, `image: ghcr.io/x/y:2.0   #   { "other": [1], "$imagepolicy" : "default:apps" }  `},
		{"tabs before the comment", "image: y:1\t\t#{\"$imagepolicy\": \"default:apps\"}\t", "image: ghcr.io/x/y:2.0\t\t#{\"$imagepolicy\": \"default:apps\"}\t"},
		{"anchor", `image: &img y:1 # {"$imagepolicy": "default:apps"}`, `image: &img ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"tag and anchor", `image: !!str &img "y:1" # {"$imagepolicy": "default:apps"}`, `image: !!str &img "ghcr.io/x/y:2.0" # {"$imagepolicy": "default:apps"}`},
		{"empty in quotes", `image: "" # {"$imagepolicy": "default:apps"}`, `image: "ghcr.io/x/y:2.0" # {"$imagepolicy": "default:apps"}`},
		{"wide characters before", `{"ключ🙂": 1}: y:1 # {"$imagepolicy": "default:apps"}`, `{"ключ🙂": 1}: ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`},
		{"number today", `tag: 1 # {"$imagepolicy": "default:apps:tag"}`, `tag: "2.0" # {"$imagepolicy": "default:apps:tag"}`},
		{"byte order mark", "\ufeffimage: y:1 # {\"$imagepolicy\": \"default:apps\"}\n", "\ufeffimage: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\n"},
		{"CR LF", "a: 1\r\nimage: y:1 # {\"$imagepolicy\": \"default:apps\"}\r\nb: 2\r\n", "a: 1\r\nimage: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\r\nb: 2\r\n"},
		{"lone CR", "a: 1\rimage: y:1 # {\"$imagepolicy\": \"default:apps\"}\rb: 2", "a: 1\rimage: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\rb: 2"},
		{"item of a flow map on its own line", "x: {\n  image: y:1 # {\"$imagepolicy\": \"default:apps\"}\n}", "x: {\n  image: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\n}"},
		{"two on two lines", "a: y:1 # {\"$imagepolicy\": \"default:apps\"}\nb: 1.0 # {\"$imagepolicy\": \"default:apps:tag\"}", "a: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\nb: \"2.0\" # {\"$imagepolicy\": \"default:apps:tag\"}"},
		{"second document", "image: y:1\n---\n# note\nimage: y:1 # {\"$imagepolicy\": \"default:apps\"}\n...\n", "image: y:1\n---\n# note\nimage: ghcr.io/x/y:2.0 # {\"$imagepolicy\": \"default:apps\"}\n...\n"},
		{"by Application", `image: y:1 # {"$imagepolicy": "default:text"}`, `image: nginx:stable # {"$imagepolicy": "default:text"}`},

		{"already there", `image: ghcr.io/x/y:2.0 # {"$imagepolicy": "default:apps"}`, same},
		{"other namespace", `image: a:1 # {"$imagepolicy": "other:apps"}`, same},
		{"unknown policy", `image: a:1 # {"$imagepolicy": "default:none"}`, same},
		{"note behind", `image: a:1 # {"$imagepolicy": "default:apps"} note`, same},
		{"note before", `image: a:1 # note {"$imagepolicy": "default:apps"}`, same},
		{"unknown field", `image: a:1 # {"$imagepolicy": "default:apps:all"}`, same},
		{"no name", `image: a:1 # {"$imagepolicy": "default"}`, same},
		{"not a text", `image: a:1 # {"$imagepolicy": ["default:apps"]}`, same},
		{"line above", "# {\"$imagepolicy\": \"default:apps\"}\nimage: a:1", same},
		{"line below", "image: a:1\n# {\"$imagepolicy\": \"default:apps\"}", same},
		{"value on the next line", "image: # {\"$imagepolicy\": \"default:apps\"}\n  a:1", same},
		{"no value", `image: # {"$imagepolicy": "default:apps"}`, same},
		{"after a flow list", `images: [a:1] # {"$imagepolicy": "default:apps"}`, same},
		{"after a flow map", `x: {image: "a:1"} # {"$imagepolicy": "default:apps"}`, same},
		{"block scalar", "x: |\n  image: a:1 # {\"$imagepolicy\": \"default:apps\"}\n", same},
		{"header of a block scalar", "x: | # {\"$imagepolicy\": \"default:apps\"}\n  a:1\n", same},
		{"folded scalar", "x: >-\n  image: a:1 # {\"$imagepolicy\": \"default:apps\"}\n", same},
		{"in quotes", `x: 'image: a:1 # {"$imagepolicy": "default:apps"}'`, same},
		{"no blank before the comment", `image: "a:1"# {"$imagepolicy": "default:apps"}`, same},
		{"over two lines", "image: a\n  b # {\"$imagepolicy\": \"default:apps\"}", same},
		{"alias", "a: &x a:1\nb: *x # {\"$imagepolicy\": \"default:apps\"}", same},
		{"key", "? a:1 # {\"$imagepolicy\": \"default:apps\"}\n: v", same},
		{"not YAML", "a: [ # {\"$imagepolicy\": \"default:apps\"}", "error"},
		{"tabs as indentation", "a:\n\tb: a:1 # {\"$imagepolicy\": \"default:apps\"}", "error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := Edit("apps/x.yaml", []byte(test.in), reference(t))
			want := test.want
			if want == "error" {
				if _, ok := errors.AsType[*FileError](err); !ok {
					t.Errorf("error %v", err)
				}
				want = same
			} else if err != nil {
				t.Fatal(err)
			}
			if want == same {
				want = test.in
			}
			if string(got.Out) != want {
				t.Errorf("got  %q\nwant %q", got.Out, want)
			}
			if (len(got.Changes) > 0) != (want != test.in) || len(got.Problems) > 0 {
				t.Errorf("changes %v, problems %v", got.Changes, got.Problems)
			}
		})
	}
}

func TestEditReports(t *testing.T) {
	t.Parallel()
	const src = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  image: y:1 # {"$imagepolicy": "default:apps"}
  tag: "1" # {"$imagepolicy": "default:apps:tag"}
  digest: "sha256:0" # {"$imagepolicy": "default:apps:digest"}
  down: y:1 # {"$imagepolicy": "default:down"}
`
	got, err := Edit("apps/web.yaml", []byte(src), reference(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Changes) != 2 || len(got.Problems) != 2 {
		t.Fatalf("%+v", got)
	}
	first := got.Changes[0]
	if first.File != "apps/web.yaml" || first.Line != 7 || first.Old != "y:1" || first.New != "ghcr.io/x/y:2.0" ||
		first.Ref.String() != "default:apps" || first.Object != (Object{"apps/v1", "Deployment", "shop", "web"}) || first.Choice.Policy != "apps" {
		t.Errorf("change %+v", first)
	}
	if second := got.Changes[1]; second.Old != "1" || second.New != "2.0" || second.Ref.String() != "default:apps:tag" {
		t.Errorf("change %+v", second)
	}
	if p := got.Problems[0]; p.Line != 9 || p.Err.Error() != "the digest is not known" || hint(p.Err) == "" {
		t.Errorf("problem %+v", p)
	}
	if p := got.Problems[1]; p.Line != 10 || p.Err.Error() != "registry unavailable" {
		t.Errorf("problem %+v", p)
	}
	if !strings.Contains(string(got.Out), `digest: "sha256:0" #`) {
		t.Error("the digest was emptied")
	}
}

func hint(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

func TestResolve(t *testing.T) {
	t.Parallel()
	one, two := choice(t, "a/one", "1", ""), choice(t, "a/two", "2", "")
	r := Resolve([]Candidate{
		{Namespace: "n", App: "infra", Component: "db", Choice: one},
		{Namespace: "n", App: "db", Component: "other", Choice: two},
		{Namespace: "n", App: "twins", Component: "left", Choice: one},
		{Namespace: "n", App: "twins", Component: "right", Choice: two},
		{Namespace: "n", App: "again", Component: "left", Choice: two},
		{Namespace: "m", App: "infra", Component: "web", Choice: two},
	})
	for _, test := range []struct {
		ref  Ref
		want string
	}{
		{Ref{"n", "db", ""}, "a/one"},    // a component comes before an Application
		{Ref{"n", "infra", ""}, "a/one"}, // of its own namespace only
		{Ref{"m", "infra", ""}, "a/two"},
		{Ref{"n", "right", ""}, "a/two"},
		{Ref{"m", "db", ""}, ""},
		{Ref{"n", "twins", ""}, "n:twins may mean twins/left or twins/right"},
		{Ref{"n", "left", Tag}, "n:left:tag may mean again/left or twins/left"},
	} {
		c, ok, err := r(test.ref)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case ok:
			got = c.Image.String()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.ref, got, test.want)
		}
	}
}

// What is no image, tag or digest never gets into a file, whoever resolves.
func TestEditRefusesBadChoices(t *testing.T) {
	t.Parallel()
	const src = `image: y:1 # {"$imagepolicy": "default:apps"}`
	good := choice(t, "ghcr.io/x/y", "1", "")
	for _, bad := range []Choice{
		{Image: good.Image, Tag: "1\nroot: true"},
		{Image: good.Image, Tag: ""},
		{Image: good.Image, Tag: `1" # `},
		{Image: good.Image, Tag: "1", Digest: "sha256:zz"},
		{Image: registry.Image{Host: "a b", Repo: "c"}, Tag: "1"},
		{Tag: "1"},
	} {
		got, err := Edit("f", []byte(src), func(Ref) (Choice, bool, error) { return bad, true, nil })
		if err != nil || string(got.Out) != src || len(got.Problems) != 1 {
			t.Errorf("%+v: %q, %v, %v", bad, got.Out, got.Problems, err)
		}
	}
}

func TestReadsAsText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1.10": false, "1": false, "1e3": false, "0x1F": false, "0o17": false, "017": false, "1_000": false, ".5": false,
		"yes": false, "No": false, "on": false, "off": false, "y": false, "true": false, "null": false, "~": false,
		"2024-01-02": false, "190:20:30": false, "1:30": false, "": false, ".inf": false, ".nan": false, "<<": false,
		"1.2.3": true, "v1": true, "latest": true, "nginx:1.27": true, "a": true, "master-7f5ecb30-1632733303": true,
		"1.2.3-rc.1": true, "2024-01-02-a": true, "_1": true, "ghcr.io/x/y:1@" + aDigest: true, aDigest: true,
	} {
		if got := readsAsText(text); got != want {
			t.Errorf("readsAsText(%q) = %v", text, got)
		}
	}
}

func TestEligible(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a.yaml": true, "x/b.yml": true, "x/Kustomization": true, "a.json": false, "yaml": false, "Kustomization.txt": false} {
		if Eligible(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
