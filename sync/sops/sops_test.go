package sops_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tradewind-dev/tradewind/sync/sops"
)

// program stands for tradewind-sops: it keeps what it was asked and the environment it was
// started in, and answers with a file.
func program(t *testing.T, answer string) (binary, dir string) {
	t.Helper()
	dir = t.TempDir()
	binary = filepath.Join(dir, sops.Program)
	script := fmt.Sprintf("#!/bin/sh\nenv > %[1]s/env\ncat >> %[1]s/asked\necho >> %[1]s/asked\ncat %[1]s/answer\n", dir)
	for name, text := range map[string]string{binary: script, filepath.Join(dir, "answer"): answer} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	return binary, dir
}

func plaintext(text string) string {
	return `{"data": "` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}`
}

// asked is what the program was asked, a request each.
func asked(t *testing.T, dir string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []map[string]any
	for line := range strings.Lines(string(data)) {
		var req map[string]any
		if err := json.Unmarshal([]byte(line), &req); err != nil {
			t.Fatalf("request %q: %v", line, err)
		}
		all = append(all, req)
	}
	return all
}

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func identities(t *testing.T) sops.Identities {
	t.Helper()
	keys, err := sops.IdentitiesFromSecret(map[string][]byte{"a.agekey": testdata(t, "key.agekey"), "other": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

const plain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {sops: 'sops:'}\n"

// Tests that write a program and start it take turns: a process that is just being started
// by another test would hold the file open for writing.

func TestFS(t *testing.T) {
	sealed := string(testdata(t, "secret.yaml"))
	other := strings.ReplaceAll(sealed, "data:bMeRFF", "data:AAAAAA")
	if other == sealed {
		t.Fatal("the second document has the MAC of the first")
	}
	for name, c := range map[string]struct {
		file, text, want string
		requests         int
	}{
		"plain":                   {"a.yaml", plain, plain, 0},
		"sealed":                  {"a.yaml", sealed, "opened\n", 1},
		"sealed as one":           {"a.yml", sealed + "---\n" + sealed, "opened\n", 1},
		"one of two":              {"a.yaml", plain + "---\n" + sealed, "---\n" + plain + "---\nopened\n", 1},
		"sealed one by one":       {"a.yaml", "---\n" + sealed + "--- # b\n" + other, "---\nopened\n---\nopened\n", 2},
		"json":                    {"a.json", `{"a": "ENC[]", "sops": {"mac": "ENC[x]"}}`, "opened\n", 1},
		"json that only looks so": {"a.json", `{"a": "sops", "mac": "ENC[x]"}`, `{"a": "sops", "mac": "ENC[x]"}`, 0},
		"env":                     {"a.env", "A=ENC[y]\nsops_mac=ENC[x]\n", "opened\n", 1},
		"ini":                     {"a.ini", "[sops]\nmac = ENC[x]\n", "opened\n", 1},
		"binary":                  {"tls.key", `{"data": "ENC[y]", "sops": {"mac":"ENC[x]"}}`, "opened\n", 1},
		"text about SOPS":         {"README.md", "sops:\n  mac: ENC[x]\n", "sops:\n  mac: ENC[x]\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			binary, dir := program(t, plaintext("opened\n"))
			tree := sops.New(binary).FS(t.Context(), fstest.MapFS{"d/" + c.file: {Data: []byte(c.text)}}, identities(t))
			got, err := fs.ReadFile(tree, "d/"+c.file)
			if err != nil || string(got) != c.want {
				t.Errorf("ReadFile() = %q, %v; want %q", got, err, c.want)
			}
			requests := asked(t, dir)
			if len(requests) != c.requests {
				t.Fatalf("the program was asked %d times, want %d", len(requests), c.requests)
			}
			for _, req := range requests {
				keys, _ := req["identities"].([]any)
				if req["path"] != "d/"+c.file || len(keys) != 1 || !strings.HasPrefix(fmt.Sprint(keys[0]), "AGE-SECRET-KEY-") {
					t.Errorf("it was asked for %v with %d keys", req["path"], len(keys))
				}
			}
			if err := fstest.TestFS(tree, "d/"+c.file); c.requests == 0 && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenReadsPlaintext(t *testing.T) {
	binary, _ := program(t, plaintext("opened\n"))
	tree := sops.New(binary).FS(t.Context(), fstest.MapFS{"a.yaml": {Data: testdata(t, "secret.yaml")}}, identities(t))
	file, err := tree.Open("a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 7 {
		t.Errorf("Stat() = %v, %v; want 7 bytes", info, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}

// TestEnvironment checks that the program gets nothing of ours.
func TestEnvironment(t *testing.T) {
	t.Setenv("SOPS_AGE_KEY", "canary")
	binary, dir := program(t, plaintext("x"))
	tree := sops.New(binary).FS(t.Context(), fstest.MapFS{"a.yaml": {Data: testdata(t, "secret.yaml")}}, identities(t))
	if _, err := fs.ReadFile(tree, "a.yaml"); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(env)) { // a shell sets a few for itself
		name, _, _ := strings.Cut(line, "=")
		if name != "PWD" && name != "SHLVL" && name != "_" && name != "OLDPWD" {
			t.Errorf("the program was started with %s", line)
		}
	}
}

func TestFailures(t *testing.T) {
	sealed := testdata(t, "secret.yaml")
	for name, c := range map[string]struct{ answer, want string }{
		"refused":   {`{"error": "no key opens it", "kind": "key"}`, "decrypting: no key opens it"},
		"no answer": {"", "gave no answer"},
		"garbage":   {"plaintext-canary", "gave no answer"},
		"too much":  {strings.Repeat("x", 17<<20), "running tradewind-sops"},
	} {
		binary, _ := program(t, c.answer)
		tree := sops.New(binary).FS(t.Context(), fstest.MapFS{"a.yaml": {Data: sealed}}, identities(t))
		data, err := fs.ReadFile(tree, "a.yaml")
		if err == nil || len(data) > 0 || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %d bytes, %v; want an error with %q", name, len(data), err, c.want)
		}
		if _, err := tree.Open("a.yaml"); err == nil {
			t.Errorf("%s: Open gave the file", name)
		}
	}
	gone := sops.New(filepath.Join(t.TempDir(), "absent"))
	missing, ok := errors.AsType[*sops.MissingError](gone.Check())
	if !ok || !strings.Contains(missing.Hint(), "render.sopsBinary") {
		t.Errorf("Check() without the program = %v", gone.Check())
	}
	if binary, _ := program(t, ""); sops.New(binary).Check() != nil {
		t.Error("Check() does not find the program")
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	keys := identities(t)
	for _, text := range []string{fmt.Sprint(keys), fmt.Sprintf("%+v", keys), fmt.Sprintf("%#v", keys), keys.Fingerprint()} {
		if strings.Contains(text, "AGE-SECRET") {
			t.Errorf("identities print as %s", text)
		}
	}
	for name, data := range map[string]map[string][]byte{
		"none":   {"key": testdata(t, "key.agekey")},
		"empty":  {"a.agekey": []byte("# nothing\n")},
		"plugin": {"a.agekey": []byte("AGE-PLUGIN-YUBIKEY-1XXX")},
		"text":   {"a.agekey": []byte("hunter2")},
	} {
		if _, err := sops.IdentitiesFromSecret(data); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
