package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	agelib "filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/keyservice"
)

// encrypt does what "sops encrypt" does with a file.
func encrypt(t *testing.T, name, text string, recipients ...string) []byte {
	t.Helper()
	store, ok := storeFor(name).(interface {
		sops.PlainFileLoader
		sops.EncryptedFileEmitter
	})
	if !ok {
		t.Fatalf("the store of %s cannot encrypt", name)
	}
	branches, err := store.LoadPlainFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var group sops.KeyGroup
	for _, recipient := range recipients {
		key, err := age.MasterKeyFromRecipient(recipient)
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, key)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: []sops.KeyGroup{group}, Version: "3.13.3", EncryptedRegex: "^(data|stringData|password)$",
	}}
	if !strings.HasSuffix(name, ".yaml") {
		tree.Metadata.EncryptedRegex = ""
		tree.Metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		t.Fatal(err)
	}
	tree.Metadata.LastModified = time.Now().UTC()
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("hunter2")) {
		t.Fatalf("%s was not encrypted:\n%s", name, out)
	}
	return out
}

func identity(t *testing.T) *agelib.X25519Identity {
	t.Helper()
	id, err := agelib.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// ask speaks to the program as its parent does.
func ask(t *testing.T, req request) response {
	t.Helper()
	in, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := answer(bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var res response
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		t.Fatal(err)
	}
	return res
}

const secret = `apiVersion: v1
kind: Secret
metadata:
  name: login
stringData:
  # kept
  password: hunter2
  port: "5432"
`

func TestEveryFormat(t *testing.T) {
	t.Parallel()
	id := identity(t)
	for name, text := range map[string]string{
		"secret.yaml": secret,
		"two.yaml":    secret + "---\n" + strings.ReplaceAll(secret, "login", "other"),
		"a.json":      "{\n\t\"password\": \"hunter2\",\n\t\"n\": 7\n}",
		"a.env":       "PASSWORD=hunter2\nA=b\n",
		"a.ini":       "[db]\npassword = hunter2\n",
		"key.pem":     "-----BEGIN hunter2-----\n\x00\xff",
	} {
		if name == "key.pem" {
			text = "-----BEGIN hunter2-----\n"
		}
		sealed := encrypt(t, name, text, identity(t).Recipient().String(), id.Recipient().String())
		res := ask(t, request{Path: "dir/" + name, Data: sealed, Identities: []string{identity(t).String(), id.String()}})
		if res.Error != "" || strings.TrimSpace(string(res.Data)) != strings.TrimSpace(text) {
			t.Errorf("%s: %q\n%s\nwant\n%s", name, res.Error, res.Data, text)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	id, other := identity(t), identity(t)
	sealed := encrypt(t, "s.yaml", secret, id.Recipient().String())
	edited := bytes.Replace(sealed, []byte("name: login"), []byte("name: admin"), 1)
	// A value of one field in the place of another has its own authentication.
	swapped := append([]byte(nil), sealed...)
	for line := range bytes.Lines(sealed) {
		if bytes.Contains(line, []byte("port: ENC")) {
			swapped = bytes.Replace(swapped, line, bytes.Replace(line, []byte("port:"), []byte("user:"), 1), 1)
		}
	}
	for name, c := range map[string]struct {
		req        request
		kind, want string
	}{
		"other key":  {request{Path: "s.yaml", Data: sealed, Identities: []string{other.String()}}, kindKey, id.Recipient().String()},
		"no key":     {request{Path: "s.yaml", Data: sealed}, kindIdentity, "no age identity"},
		"plugin":     {request{Path: "s.yaml", Data: sealed, Identities: []string{"AGE-PLUGIN-EVIL-1QQQ"}}, kindIdentity, "no age identity"},
		"edited":     {request{Path: "s.yaml", Data: edited, Identities: []string{id.String()}}, kindFile, "checksum"},
		"moved":      {request{Path: "s.yaml", Data: swapped, Identities: []string{id.String()}}, kindFile, "changed after encryption"},
		"plain":      {request{Path: "s.yaml", Data: []byte(secret), Identities: []string{id.String()}}, kindFile, "does not parse"},
		"not yaml":   {request{Path: "s.yaml", Data: []byte("\t{"), Identities: []string{id.String()}}, kindFile, "does not parse"},
		"other type": {request{Path: "s.json", Data: sealed, Identities: []string{id.String()}}, kindFile, "does not parse"},
	} {
		res := ask(t, c.req)
		if res.Kind != c.kind || !strings.Contains(res.Error, c.want) || len(res.Data) > 0 {
			t.Errorf("%s: %+v, want kind %s and %q", name, res, c.kind, c.want)
		}
		if text := fmt.Sprint(res.Error); strings.Contains(text, "hunter2") || strings.Contains(text, "SECRET-KEY") {
			t.Errorf("%s: the error repeats a secret: %s", name, text)
		}
	}
}

func TestRequestsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", `{"data": "` + base64.StdEncoding.EncodeToString([]byte("x"))} {
		if err := answer(strings.NewReader(text), &bytes.Buffer{}); err == nil {
			t.Errorf("%q was answered", text)
		}
	}
}
