package helm

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	rspb "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A record is one version of a release as Helm's storage driver for Secrets keeps it:
// JSON, gzipped, base64, in a Secret of a certain name, type and labels.
const (
	recordPrefix = "sh.helm.release.v1."
	recordType   = "helm.sh/release.v1"
	recordKey    = "release"
	maxRecord    = 32 << 20 // unpacked

	// labelInput names what the release was made from; see [Spec.Input].
	labelInput = "helm.tradewind.dev/input"
	// labelTries counts the tries with one input.
	labelTries = "helm.tradewind.dev/tries"
	// labelInstead is on a roll back: the input that it took the place of.
	labelInstead = "helm.tradewind.dev/instead-of"
)

// record is one version and what we know of it besides.
type record struct {
	*rspb.Release
	input   string
	instead string
	tries   int    // how many there were with this input, or with the one it is instead of
	created string // label of Helm's, kept
	text    string // as it was read; what did not change is not encoded again
	changed bool   // since it was read
}

// IsRecord says that a Secret's name is that of a record of a release, and which version.
func IsRecord(secret, release string) (version int, ok bool) {
	text, ok := strings.CutPrefix(secret, recordPrefix+release+".v")
	if !ok {
		return 0, false
	}
	version, err := strconv.Atoi(text)
	return version, err == nil && version > 0
}

// RecordName is the name of the Secret that holds a version of a release.
func RecordName(release string, version int) string {
	return fmt.Sprintf("%s%s.v%d", recordPrefix, release, version)
}

func decode(secret *unstructured.Unstructured) (*record, error) {
	fail := func(err error) error { return fmt.Errorf("reading release record %s: %w", secret.GetName(), err) }
	text, _, _ := unstructured.NestedString(secret.Object, "data", recordKey)
	inner, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fail(errors.New("it is not base64"))
	}
	packed, err := base64.StdEncoding.DecodeString(string(inner))
	if err != nil {
		return nil, fail(errors.New("it is not base64 in base64"))
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fail(errors.New("it is not gzipped"))
	}
	raw, err := io.ReadAll(io.LimitReader(unzipped, maxRecord))
	if err != nil {
		return nil, fail(errors.New("it is cut off"))
	}
	r := &record{Release: &rspb.Release{}, text: text}
	if err := json.Unmarshal(raw, r.Release); err != nil || r.Info == nil || r.Chart == nil || r.Chart.Metadata == nil {
		return nil, fail(errors.New("it holds no release"))
	}
	labels := secret.GetLabels()
	r.input, r.instead, r.created = labels[labelInput], labels[labelInstead], labels["createdAt"]
	if r.tries, err = strconv.Atoi(labels[labelTries]); err != nil {
		r.tries = 1 // of a record that Helm wrote
	}
	return r, nil
}

// encode is the content of the Secret.
func (r *record) encode() (string, error) {
	if !r.changed {
		return r.text, nil
	}
	raw, err := json.Marshal(r.Release)
	if err != nil {
		return "", fmt.Errorf("writing release record %s: %w", RecordName(r.Name, r.Version), err)
	}
	var packed bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := zipped.Write(raw); err != nil {
		return "", err
	}
	if err := zipped.Close(); err != nil {
		return "", err
	}
	inner := base64.StdEncoding.EncodeToString(packed.Bytes())
	return base64.StdEncoding.EncodeToString([]byte(inner)), nil
}

// secret is the record as an object to apply.
func (r *record) secret(namespace string) (*unstructured.Unstructured, error) {
	text, err := r.encode()
	if err != nil {
		return nil, err
	}
	labels := map[string]string{
		"name": r.Name, "owner": "helm", "status": r.Info.Status.String(), "version": strconv.Itoa(r.Version), labelInput: r.input, labelTries: strconv.Itoa(r.tries),
	}
	if r.created != "" {
		labels["createdAt"] = r.created
	}
	if r.instead != "" {
		labels[labelInstead] = r.instead
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": recordType,
		"data": map[string]any{recordKey: text},
	}}
	o.SetName(RecordName(r.Name, r.Version))
	o.SetNamespace(namespace)
	o.SetLabels(labels)
	return o, nil
}
