package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func TestPolicyTest(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/policy.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const seed = `--pattern ^master-[a-f0-9]+-(?P<ts>[0-9]+) --extract $ts --numerical `
	for _, tt := range []struct{ name, args, stdin string }{
		{"policy-seed", "-f apps.yaml --tags-from seed.txt", ""},
		{"policy-stdin", "-f apps.yaml", "master-cba5605f-1632714412\r\n\n  latest\n"},
		{"policy-flags-desc", seed + "desc --tags-from seed.txt --no-headers", ""},
		{"policy-collision", seed + "asc", "master-a-5\nmaster-b-5\nmaster-c-4\n"},
		{"policy-not-a-number", "--numerical asc --tags-from seed.txt", ""},
		{"policy-none-fits", "--semver >=1.0 --tags-from seed.txt", ""},
		{"policy-no-tags", "--alphabetical asc", ""},
		{"policy-semver", "--semver >=1.0.0 --tags-from versions.txt", ""},
		{"policy-json", "--semver 1.0.x --tags-from versions.txt -o json", ""},
		{"policy-json-fails", "--numerical asc --tags-from seed.txt -o json", ""},
		{"policy-name", "-f apps.yaml --tags-from seed.txt -o name", ""},
		{"policy-several", "-f several.yaml --tags-from seed.txt", ""},
		{"policy-component", "-f several.yaml --component two --tags-from versions.txt -o name", ""},
		{"policy-no-component", "-f several.yaml --component three --tags-from seed.txt", ""},
		{"policy-bad-application", "-f bad.yaml --tags-from seed.txt", ""},
		{"policy-bad-range", "--semver new", ""},
		{"policy-bad-order", "--numerical up", ""},
		{"policy-bad-pattern", "--pattern ( --numerical asc", ""},
		{"policy-two", "--numerical asc --semver *", ""},
		{"policy-both", "-f apps.yaml --semver *", ""},
		{"policy-none", "", ""},
		{"policy-both-stdin", "-f -", ""},
		{"policy-missing-file", "--semver * --tags-from none.txt", ""},
		{"policy-bad-output", "--semver * -o wide", ""},
		{"policy-terminal", "--alphabetical asc", "a\x1b[31mred\nfine\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := []string{"policy", "test"}
			fields := strings.Fields(tt.args)
			for i, arg := range fields {
				if strings.HasSuffix(arg, ".yaml") || strings.HasSuffix(arg, ".txt") {
					fields[i] = filepath.Join(dir, arg)
				}
			}
			args = append(args, fields...)
			p := newProcess()
			p.stdin = strings.NewReader(tt.stdin)
			code := run(t.Context(), args, p.env)
			golden(t, tt.name, strings.ReplaceAll(p.transcript(args, code), dir+string(filepath.Separator), ""))
		})
	}
}
