package render_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tradewind-dev/tradewind/sync/oam"
	"github.com/tradewind-dev/tradewind/sync/render"
)

// TestRenderVectors are the checks of kubevela.md 10.4 that concern rendering, each by
// what must be in the objects (compact JSON, keys sorted), or not (after "!"), or in the
// error (after "error: ").
func TestRenderVectors(t *testing.T) {
	t.Parallel()
	const image = "image: nginx:1"
	tests := []struct {
		component string
		want      []string
	}{
		{"{name: c, type: webservice, properties: {" + image + ", port: 8088}}", []string{`"ports":[{"containerPort":8088`, `!"kind":"Service"`}},
		{"{name: c, type: webservice, properties: {" + image + ", ports: [{port: 80, expose: true}]}}",
			[]string{`{"containerPort":80,"name":"port-80","protocol":"TCP"}`, `"name":"port-80"`, `"port":80`, `"targetPort":80`, `"type":"ClusterIP"`}},
		{"{name: c, type: webservice, properties: {" + image + ", ports: [{port: 53, containerPort: 5353, protocol: UDP, expose: true}]}}",
			[]string{`{"containerPort":5353,"name":"port-5353-udp","protocol":"UDP"}`, `"port":53,"protocol":"UDP","targetPort":5353`}},
		{"{name: c, type: webservice, properties: {" + image + ", exposeType: NodePort, ports: [{port: 80, expose: true, nodePort: 30080}]}}", []string{`"nodePort":30080`, `"type":"NodePort"`}},
		{"{name: c, type: webservice, properties: {" + image + ", ports: [{port: 80, expose: true, nodePort: 30080}]}}", []string{`!nodePort`}},
		{"{name: c, type: webservice, properties: {" + image + ", cpu: '0.5'}}", []string{`"resources":{"limits":{"cpu":"0.5"},"requests":{"cpu":"0.5"}}`}},
		{"{name: c, type: webservice, properties: {" + image + ", cpu: '0.5', limit: {cpu: '1'}}}", []string{`"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"0.5"}}`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: ingress, properties: {domain: d, http: {/: 8088, /x: 8088}}}]}",
			[]string{`"path":"/"`, `"path":"/x"`, `"targetPort":8088}]`, `!"targetPort":8088},`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: scaler, properties: {replicas: 3}}, {type: scaler, properties: {replicas: 5}}]}", []string{`"replicas":5`, `!"replicas":3`}},
		{"{name: c, type: webservice, properties: {" + image + ", env: [{name: A, value: '1'}]}, traits: [{type: env, properties: {env: {B: '2', A: '9'}}}]}",
			[]string{`"env":[{"name":"A","value":"9"},{"name":"B","value":"2"}]`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: env, properties: {containerName: zzz, env: {}}}]}", []string{`error: container zzz not found`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: labels, properties: {k: v}}]}",
			[]string{`"template":{"metadata":{"labels":{"app.oam.dev/component":"c","app.oam.dev/name":"a","k":"v"}}`, `"k":"v","workload.oam.dev/type":"webservice"`}},
		{"{name: c, type: cron-task, properties: {" + image + ", schedule: '* * * * *'}, traits: [{type: annotations, properties: {k: v}}]}",
			[]string{`"jobTemplate":{"metadata":{"annotations":{"k":"v"}`, `"template":{"metadata":{"annotations":{"k":"v"}`}},
		{"{name: c, type: task, properties: {" + image + "}}", []string{`"kind":"Job"`, `"name":"a-c"`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: gateway, properties: {name: api, domain: d, http: {/: 80}}}]}",
			[]string{`"name":"c-api"`, `"trait.oam.dev/resource":"service-api"`, `"trait.oam.dev/resource":"ingress-api"`}},
		{"{name: c, type: raw, properties: {apiVersion: apps/v1, kind: Deployment, spec: {}}, traits: [{type: json-patch, properties: {operations: [{op: replace, path: /spec/replicas, value: 2}]}}]}",
			[]string{`error: operations[0]`, `error: replicas`}},
		{"{name: c, type: webservice, properties: {" + image + "}, traits: [{type: five}, {type: six}]}", []string{`error: spec.paused: conflicting values true and false`}},
		{"{name: c, type: webservice, properties: {" + image + ", colour: red}}", []string{`"kind":"Deployment"`, `!colour`}},
		{"{name: c, type: webservise, properties: {" + image + "}}", []string{`error: component type "webservise" is not known`}},
	}
	catalog := render.NewCatalog()
	catalog.Put(clusterDefinition("TraitDefinition", "vela-system", "five", "", "patch: spec: paused: true"))
	catalog.Put(clusterDefinition("TraitDefinition", "vela-system", "six", "", "patch: spec: paused: false"))
	r := render.New(render.Config{Definitions: catalog})
	for _, tt := range tests {
		var c oam.Component
		if err := yaml.Unmarshal([]byte(tt.component), &c); err != nil {
			t.Fatal(err)
		}
		rc := render.Context{AppName: "a", Namespace: "default", AppRevision: "a-v1", ClusterVersion: render.Version{Major: 1, Minor: 37}}
		out, err := r.Component(t.Context(), c, rc, nil)
		var text strings.Builder
		if err != nil {
			text.WriteString(err.Error())
		} else {
			for _, o := range out.Objects {
				raw, err := json.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				text.Write(raw)
			}
		}
		for _, want := range tt.want {
			want, isError := strings.CutPrefix(want, "error: ")
			want, not := strings.CutPrefix(want, "!")
			if isError != (err != nil) || strings.Contains(text.String(), want) == not {
				t.Errorf("%s:\nwant %s (absent: %v)\nin   %s", tt.component, want, not, text.String())
			}
		}
	}
}
