package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradewind-dev/tradewind/registry/imagepolicy"
)

type policyOptions struct {
	tagsFrom  string
	file      string
	component string
	output    string
	noHeaders bool

	pattern, extract                string
	numerical, alphabetical, within string
}

func newPolicyCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Try image policies, without a cluster or a registry",
		Example: "  crane ls ghcr.io/acme/shop | tradewind policy test -f clusters/apps.yaml",
		Args:    cobra.NoArgs,
	}
	cmd.AddCommand(newPolicyTestCmd(e))
	return cmd
}

func newPolicyTestCmd(e *env) *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Say which of some tags a policy chooses, and why not the others",
		Long: "Say which of some tags a policy chooses, and why not the others. The tags come from\n" +
			"standard input, one a line, in the order of the registry's listing. The policy is that\n" +
			"of an Application's imageRepository, or is given with flags.\n\n" +
			"Ends with 4 when none of the tags fits, and with 1 when the policy fails at one.",
		Example: "  crane ls ghcr.io/acme/shop | tradewind policy test -f clusters/apps.yaml\n" +
			"  tradewind policy test --tags-from tags.txt --semver '>=1.0.0 <2.0.0'\n" +
			"  tradewind policy test --tags-from tags.txt --pattern '^main-(?P<ts>[0-9]+)$' --extract '$ts' --numerical asc",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return policyTest(e, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.tagsFrom, "tags-from", "-", "file with the tags, one a line; - for standard input")
	flags.StringVarP(&o.file, "filename", "f", "", "file with the Application that has the policy")
	flags.StringVar(&o.component, "component", "", "component of the Application, when several have a policy")
	flags.StringVar(&o.pattern, "pattern", "", "regular expression that tags have to match (filterTags.pattern)")
	flags.StringVar(&o.extract, "extract", "", "what to compare of a tag, such as $ts (filterTags.extract)")
	flags.StringVar(&o.numerical, "numerical", "", "compare as numbers: asc takes the highest, desc the lowest")
	flags.StringVar(&o.alphabetical, "alphabetical", "", "compare as texts: asc takes the last, desc the first")
	flags.StringVar(&o.within, "semver", "", "take the highest version of a range")
	flags.StringVarP(&o.output, "output", "o", outTable, "table, json, yaml or name")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "leave out the line of headers")
	return cmd
}

func policyTest(e *env, o policyOptions) error {
	if err := checkOutput(o.output, outTable, outJSON, outYAML, outName); err != nil {
		return err
	}
	if o.file == "-" && o.tagsFrom == "-" {
		return usageErrorf("policy test: the Application and the tags cannot both come from standard input")
	}
	policy, err := o.policy(e)
	if err != nil {
		return err
	}
	tags, err := readTags(e, o.tagsFrom)
	if err != nil {
		return err
	}
	d := policy.Explain(tags)
	if err := writeDecision(e.stdout, policy, d, o); err != nil {
		return err
	}
	if d.Err == nil {
		return nil
	}
	if chosen, ok := errors.AsType[*imagepolicy.ChoiceError](d.Err); ok && chosen.Why != "" {
		return &exitError{code: exitFailure, err: d.Err}
	}
	hint := "the list above says for each tag why it does not fit"
	if len(tags) == 0 {
		hint = "give tags on standard input or with --tags-from, one a line"
	}
	return &exitError{code: exitNotFound, err: d.Err, hint: hint}
}

// policy is the one that the flags describe, in whichever way.
func (o policyOptions) policy(e *env) (*imagepolicy.Policy, error) {
	byFlags := o.pattern + o.extract + o.numerical + o.alphabetical + o.within
	switch {
	case o.file != "" && byFlags != "":
		return nil, usageErrorf("policy test: want a policy from -f or from flags, not both")
	case o.file != "":
		return o.policyOfFile(e)
	case byFlags == "":
		return nil, usageErrorf("policy test: want a policy: -f, or --numerical, --alphabetical or --semver")
	}
	rule := map[string]any{}
	for name, value := range map[string]string{"numerical": o.numerical, "alphabetical": o.alphabetical} {
		if value != "" {
			rule[name] = map[string]any{"order": value}
		}
	}
	if o.within != "" {
		rule["semver"] = map[string]any{"range": o.within}
	}
	if len(rule) != 1 {
		return nil, usageErrorf("policy test: want one of --numerical, --alphabetical and --semver")
	}
	policy, err := imagepolicy.ParsePolicy(map[string]any{
		"policy": rule, "filterTags": map[string]any{"pattern": o.pattern, "extract": o.extract},
	})
	if err != nil {
		return nil, usageErrorf("policy test: %w", err)
	}
	return policy, nil
}

// policyOfFile finds the one component that has a policy, or that is named.
func (o policyOptions) policyOfFile(e *env) (*imagepolicy.Policy, error) {
	apps, err := readApplications(e, o.file)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	found := map[string]*imagepolicy.Policy{}
	for _, app := range apps {
		for _, c := range app.Spec.Components {
			if c.Type != "kustomize" || o.component != "" && c.Name != o.component {
				continue
			}
			automation, err := imagepolicy.Parse(c.Properties)
			if err != nil {
				return nil, usageErrorf("reading component %q of %s: %w", c.Name, cmp.Or(app.Namespace, defaultNamespace)+"/"+app.Name, err)
			}
			if automation != nil {
				found[app.Name+"/"+c.Name] = automation.Policy
			}
		}
	}
	if len(found) > 1 {
		names := slices.Sorted(maps.Keys(found))
		return nil, &exitError{
			code: exitUsage, err: fmt.Errorf("reading %s: several components have a policy: %s", o.file, strings.Join(names, ", ")),
			hint: "name one with --component",
		}
	}
	for _, policy := range found {
		return policy, nil
	}
	return nil, &exitError{
		code: exitNotFound, err: fmt.Errorf("reading %s: no component with an imageRepository", o.file),
		hint: "a policy is under properties.imageRepository of a kustomize component",
	}
}

// maxTagLines is as long as a listing of a registry may be.
const maxTagLines = 200_000

func readTags(e *env, file string) ([]string, error) {
	in := e.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usageErrorf("reading tags: %w", err)
		}
		defer f.Close()
		in = f
	}
	var tags []string
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		tag := strings.TrimSpace(lines.Text())
		if tag == "" {
			continue
		}
		if tags = append(tags, tag); len(tags) > maxTagLines {
			return nil, usageErrorf("reading tags: more than %d", maxTagLines)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usageErrorf("reading tags: %w", err)
	}
	return tags, nil
}

// decisionDocument is a decision for scripts.
type decisionDocument struct {
	Policy   string            `json:"policy"`
	Tag      string            `json:"tag,omitempty"`
	Value    string            `json:"value,omitempty"`
	Error    string            `json:"error,omitempty"`
	Verdicts []verdictDocument `json:"verdicts"`
}

type verdictDocument struct {
	Tag     string `json:"tag"`
	Value   string `json:"value,omitempty"`
	Verdict string `json:"verdict"`
}

func writeDecision(w io.Writer, p *imagepolicy.Policy, d imagepolicy.Decision, o policyOptions) error {
	switch o.output {
	case outName:
		if d.Err != nil {
			return nil
		}
		_, err := fmt.Fprintln(w, d.Tag)
		return err
	case outJSON, outYAML:
		doc := decisionDocument{Policy: p.String(), Tag: d.Tag, Value: d.Value, Verdicts: []verdictDocument{}}
		if d.Err != nil {
			doc.Error = d.Err.Error()
		}
		for _, v := range d.Verdicts {
			doc.Verdicts = append(doc.Verdicts, verdictDocument{v.Tag, v.Value, string(v.Why)})
		}
		return writeDocument(w, o.output, doc)
	}
	t := &table{}
	if !o.noHeaders {
		t.add("TAG", "VALUE", "VERDICT")
	}
	row := func(v imagepolicy.Verdict) { t.add(v.Tag, cmp.Or(v.Value, "-"), string(v.Why)) }
	chosen := slices.IndexFunc(d.Verdicts, func(v imagepolicy.Verdict) bool { return v.Why == imagepolicy.Chosen })
	if chosen >= 0 {
		row(d.Verdicts[chosen]) // first, however long the list
	}
	for at, v := range d.Verdicts {
		if at != chosen {
			row(v)
		}
	}
	return t.writeTo(w)
}
