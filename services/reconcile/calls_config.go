package reconcile

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/tradewind-dev/tradewind/sync/apply"
)

// Configs of steps are Secrets in KubeVela's form: a label tells them from others, and one
// key holds what was given.
const (
	labelConfig      = "config.oam.dev/catalog"
	catalogConfig    = "velacore-config"
	labelConfigType  = "config.oam.dev/type"
	keyConfig        = "input-properties"
	kindSecret       = "Secret"
	versionOfSecrets = "v1"
)

// config makes the calls about configs, in the Application's namespace.
func (x *run) config(ctx context.Context, function string, p params) (map[string]any, error) {
	ref := apply.ObjectRef{Version: versionOfSecrets, Kind: kindSecret, Namespace: p.text("namespace"), Name: p.text("name")}
	if ref.Namespace == "" {
		ref.Namespace = x.app.Namespace
	}
	if err := x.mayTouch(ref); err != nil {
		return nil, err
	}
	switch function {
	case "create":
		return map[string]any{}, x.createConfig(ctx, ref, p)
	case "read":
		data, err := x.cluster.SecretData(ctx, ref.Namespace, ref.Name)
		if err != nil {
			return nil, err
		}
		config, err := configOf(data[keyConfig])
		return map[string]any{"config": config}, err
	case "list":
		return x.listConfigs(ctx, ref, p.text("template"))
	case "delete":
		return map[string]any{}, x.cluster.Delete(ctx, ref)
	}
	return nil, fmt.Errorf("provider %q has no function %q", "config", function)
}

func (x *run) createConfig(ctx context.Context, ref apply.ObjectRef, p params) error {
	raw, err := json.Marshal(p.object("config"))
	if err != nil {
		return err
	}
	_, err = x.applyStepObjects(ctx, []any{map[string]any{
		"apiVersion": ref.Version, "kind": ref.Kind, "stringData": map[string]any{keyConfig: string(raw)},
		"metadata": map[string]any{
			"name": ref.Name, "namespace": ref.Namespace,
			"labels": map[string]any{labelConfig: catalogConfig, labelConfigType: p.text("template")},
		},
	}})
	return err
}

func (x *run) listConfigs(ctx context.Context, ref apply.ObjectRef, template string) (map[string]any, error) {
	labels := map[string]string{labelConfig: catalogConfig}
	if template != "" {
		labels[labelConfigType] = template
	}
	found, err := x.cluster.List(ctx, ref, labels)
	if err != nil {
		return nil, err
	}
	configs := []any{}
	for _, secret := range found {
		data, _ := secret.Object["data"].(map[string]any)
		raw, err := base64.StdEncoding.DecodeString(params(data).text(keyConfig))
		if err != nil {
			return nil, fmt.Errorf("config %s: its data is not base64", secret.GetName())
		}
		config, err := configOf(raw)
		if err != nil {
			return nil, fmt.Errorf("config %s: %w", secret.GetName(), err)
		}
		configs = append(configs, map[string]any{"name": secret.GetName(), "config": config})
	}
	return map[string]any{"configs": configs}, nil
}

// configOf decodes a config; what it holds does not get into errors.
func configOf(raw []byte) (map[string]any, error) {
	out := map[string]any{}
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		return nil, fmt.Errorf("%s is not a JSON object", keyConfig)
	}
	return out, nil
}
