package commitmessage

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/sprig/v3"

	"github.com/tradewind-dev/tradewind/registry"
	"github.com/tradewind-dev/tradewind/registry/marker"
)

func change(t *testing.T, file string, line int, object marker.Object, policy, image, was, tag string) marker.Change {
	t.Helper()
	parsed, err := registry.ParseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	return marker.Change{
		File: file, Line: line, Object: object, Ref: marker.Ref{Namespace: "default", Name: policy}, Old: image + ":" + was, New: image + ":" + tag,
		Choice: marker.Choice{Image: parsed, Tag: tag, Namespace: "default", Policy: policy},
	}
}

func web(name string) marker.Object {
	return marker.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: name}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	const seed = `Image: {{range .Updated.Images}}{{println .}}{{end}}`
	one := []marker.Change{change(t, "apps/my-app.yaml", 9, web("web"), "apps", "ghcr.io/x/y", "1.0", "2.0")}
	two := []marker.Change{
		change(t, "z.yaml", 3, web("b"), "b", "b", "1", "2"), change(t, "z.yaml", 1, web("a"), "a", "a", "0", "1"),
		change(t, "a.yaml", 7, web("a"), "a", "a", "0", "1"),
	}
	for _, test := range []struct {
		name, tmpl string
		changes    []marker.Change
		want       string
	}{
		{"absent", "", one, "Update image automatically."},
		{"seed", seed, one, "Update image automatically.\nImage: ghcr.io/x/y:2.0\n"},
		{"seed, two images", seed, two, "Update image automatically.\nImage: a:1\nb:2\n"},
		{"blanks only", "  \n", one, "Update image automatically.\n  \n"},
		{"comment only", "{{/* x */}}", one, "Update image automatically.\n"},
		{"newer data", `{{range .Changed.Changes}}{{.OldValue}} -> {{.NewValue}}{{end}}`, one, "Update image automatically.\nghcr.io/x/y:1.0 -> ghcr.io/x/y:2.0"},
		{"setter", `{{range .Changed.Changes}}{{.Setter}};{{end}}`, two, "Update image automatically.\ndefault:a;default:b;"},
		{"fields", `{{range .Updated.Images}}{{.Registry}} {{.Repository}} {{.Name}} {{.Identifier}} {{.Policy.Name}} {{.Policy.Namespace}} {{.Policy}}{{end}}`, one, "Update image automatically.\nghcr.io x/y ghcr.io/x/y 2.0 apps default default/apps"},
		{"objects", `{{range $id, $refs := .Updated.Objects}}{{$id.Kind}} {{$id.Namespace}}/{{$id.Name}}:{{range $refs}} {{.}}{{end}};{{end}}`, two, "Update image automatically.\nDeployment shop/a: a:1;Deployment shop/b: b:2;"},
		{"files", `{{range $f, $r := .Updated.Files}}{{$f}}={{range $id, $refs := $r.Objects}}{{$id.Name}}{{$refs}}{{end}} {{end}}`, two, "Update image automatically.\na.yaml=a[a:1] z.yaml=a[a:1]b[b:2] "},
		{"file changes", `{{range $f, $o := .Changed.FileChanges}}{{$f}}:{{range $id, $cs := $o}}{{range $cs}} {{.NewValue}}{{end}}{{end}} {{end}}`, two, "Update image automatically.\na.yaml: a:1 z.yaml: a:1 b:2 "},
		{"changed objects", `{{range $id, $cs := .Changed.Objects}}{{$id.Name}} {{len $cs}} {{end}}`, two, "Update image automatically.\na 1 b 1 "},
		{"who and values", `{{.AutomationObject}} {{.AutomationObject.Name}} {{.Values.team}}`, one, "Update image automatically.\ndefault/apps apps blue"},
		{"sprig", `{{ .Values.team | upper | quote }} {{ trunc 7 "0123456789" }} {{ default "x" "" }} {{ replace "a" "b" "aa" }} {{ join "," (splitList "." "a.b") }}`, one, "Update image automatically.\n\"BLUE\" 0123456 x bb a,b"},
		{"builtin", `{{printf "%05.1f|%-4s|" 1.5 "a"}}{{print 1 2}}{{html "<"}}{{if and true (gt (len .Updated.Images) 0)}}y{{else}}n{{end}}`, one, "Update image automatically.\n001.5|a   |1 2&lt;y"},
		{"first and else", `{{with index .Updated.Images 0}}{{.}}{{end}}{{range .Values.none}}{{end}}`, one, "error: no entry for key"},
		{"loops", `{{range $i, $x := .Updated.Images}}{{if $i}}, {{end}}{{$x}}{{if eq $i 0}}{{continue}}{{end}}{{break}}{{else}}none{{end}}`, two, "Update image automatically.\na:1, b:2"},

		{"no such field", `{{.Nope}}`, one, "error: can't evaluate field Nope"},
		{"no such field of an image", `{{range .Updated.Images}}{{.Tag}}{{end}}`, one, "error: can't evaluate field Tag"},
		{"not a template", `{{range}`, one, "error: bad character"},
		{"no end", `{{range .Updated.Images}}`, one, "error: unexpected EOF"},
		{"environment", `{{env "HOME"}}`, one, `error: function "env" not defined`},
		{"clock", `{{now}}`, one, `error: function "now" not defined`},
		{"network", `{{getHostByName "a"}}`, one, `error: function "getHostByName" not defined`},
		{"chance", `{{randAlpha 5}}`, one, `error: function "randAlpha" not defined`},
		{"memory", `{{repeat 1000000000 "x"}}`, one, `error: function "repeat" not defined`},
		{"definitions", `{{define "x"}}{{end}}{{template "x"}}`, one, "error: templates inside the template are not supported"},
		{"itself", `{{template "commitMessage" .}}`, one, "error: templates inside the template are not supported"},
		{"itself in a loop", `{{range .Updated.Images}}{{if true}}{{else}}{{template "commitMessage" .}}{{end}}{{end}}`, one, "error: templates inside the template are not supported"},
		{"long", strings.Repeat("x", 4097), one, "error: longer than 4096 bytes"},
		{"long output", `{{range 9000}}0123456789{{end}}`, one, "error: the message is longer than 16384 bytes"},
		{"a billion rounds", `{{range 1000000000}}{{end}}`, one, "error: it goes through more than 10000 rounds"},
		{"nested rounds", `{{range 10}}{{range 10}}{{range 10}}{{range 10}}{{with 1}}{{range 10}}{{end}}{{end}}{{end}}{{end}}{{end}}{{end}}`, one, "error: it goes through more than 10000 rounds"},
		{"doubling", `{{$a := "0123456789abcdef"}}` + strings.Repeat(`{{$a = print $a $a}}`, 60), one, "error: a value is longer than 16384 bytes"},
		{"doubling with sprig", `{{$a := "0123456789abcdef"}}{{range 60}}{{$a = cat $a $a}}{{end}}`, one, "error: a value is longer than 16384 bytes"},
		{"growing by replace", `{{$a := "aaaaaaaaaaaaaaaa"}}{{range 60}}{{$a = replace "a" "aaaaaaaaaaaaaaaa" $a}}{{end}}`, one, "error: a value is longer than 16384 bytes"},
		{"wide", `{{printf "%999999d" 1}}`, one, "error: a width in a format is too large"},
		{"wide by argument", `{{printf "%*d" 999999 1}}`, one, "error: a width in a format is too large"},
		{"panic", `{{substr 5 2 "abc"}}`, one, "error: "},
		{"zero byte", `{{print "\x00"}}`, one, "error: the message is not text"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := Data{Changes: test.changes, Namespace: "default", App: "apps", Values: map[string]string{"team": "blue"}}
			start := time.Now()
			got, err := Compose(test.tmpl, data)
			if want, fails := strings.CutPrefix(test.want, "error: "); fails {
				if err == nil || got != "" || !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, %v", got, err)
				}
				if e, ok := errors.AsType[*TemplateError](err); !ok || e.Hint() == "" {
					t.Errorf("error %T without a hint", err)
				}
			} else if err != nil || got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The order in which changes were found does not show.
func TestComposeOfAnyOrder(t *testing.T) {
	t.Parallel()
	var changes []marker.Change
	for _, name := range []string{"a", "b", "c", "d"} {
		for line := range 3 {
			changes = append(changes, change(t, name+".yaml", line, web(name), name, "ghcr.io/acme/"+name, "1", "2"))
		}
	}
	const tmpl = `{{range .Updated.Images}}{{.}} {{end}}{{range $f, $x := .Updated.Files}}{{$f}}{{range $id, $r := $x.Objects}}{{$id}}{{$r}}{{end}}{{end}}{{.Changed}}`
	want, err := Compose(tmpl, Data{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		random.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
		if got, err := Compose(tmpl, Data{Changes: changes}); got != want || err != nil {
			t.Fatalf("got %q, %v\nwant %q", got, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	if err := Parse(`{{range .Updated.Images}}{{println .}}{{end}}`); err != nil {
		t.Error(err)
	}
	if err := Parse(`{{nope}}`); err == nil {
		t.Error("nope is a function")
	}
}

// Every name of the list is one of sprig's, so that none is lost to a misspelling.
func TestAllowedExist(t *testing.T) {
	t.Parallel()
	hermetic := sprig.HermeticTxtFuncMap()
	for _, name := range allowed {
		if hermetic[name] == nil {
			t.Errorf("sprig has no %s", name)
		}
	}
}
