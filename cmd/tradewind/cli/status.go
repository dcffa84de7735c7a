package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tradewind-dev/tradewind/sync/oam"
)

type statusOptions struct {
	clusterFlags

	statusViews

	output, color string
}

func newStatusCmd(e *env) *cobra.Command { return statusCmd(e, connectCluster, reachCluster) }

func statusCmd(e *env, connect connector, whole reach) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [<namespace>/]<app>",
		Short: "Show how an Application is: workflow, health, commits, problems",
		Long: "Show how an Application is: its workflow, the health of its components, the commit\n" +
			"each came from, and what is wrong with a hint what to do.\n\n" +
			"The exit code is 0 when it is running and healthy, 3 when not, 4 when there is none.",
		Example: "  tradewind status my-app\n" +
			"  tradewind status shop/my-app -o yaml\n" +
			"  tradewind status my-app --tree",
		Args: oneArgument("the name of an Application"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.isView() {
				return o.view(cmd.Context(), e, whole, o.clusterFlags, args[0])
			}
			return status(cmd.Context(), e, connect, o, args[0])
		},
	}
	o.clusterFlags.add(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", outTable, "table, json or yaml")
	cmd.Flags().StringVar(&o.color, "color", "auto", "auto, always or never")
	o.statusViews.add(cmd)
	return cmd
}

func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageErrorf("%s: want %s", cmd.Name(), what)
		}
		return nil
	}
}

func status(ctx context.Context, e *env, connect connector, o statusOptions, arg string) error {
	if err := checkOutput(o.output, outTable, outJSON, outYAML); err != nil {
		return err
	}
	paint, err := newPainter(o.color, e)
	if err != nil {
		return err
	}
	namespace, name, err := o.target(arg)
	if err != nil {
		return err
	}
	apps, err := connect(o.clusterFlags)
	if err != nil {
		return err
	}
	app, err := find(ctx, apps, namespace, name)
	if app == nil {
		return err
	}
	if o.output == outTable {
		_, writeErr := io.WriteString(e.stdout, statusText(app, paint))
		err = cmp.Or(writeErr, err)
	} else {
		err = cmp.Or(writeDocument(e.stdout, o.output, bare(app)), err)
	}
	if err == nil && !healthyApp(app) {
		err = &exitError{code: exitDifferent, quiet: true, err: errUnhealthy}
	}
	return err
}

// healthyApp says whether everything is as the Application wants it: a delivery under way
// is not, nor is one that failed behind objects that are well.
func healthyApp(app *oam.Application) bool {
	return app.Status.Phase == oam.PhaseRunning && len(problems(app)) == 0 &&
		!slices.ContainsFunc(app.Status.Services, func(s oam.Service) bool { return !s.Healthy })
}

// page gathers lines that are made safe for a terminal.
type page struct {
	strings.Builder
	painter
}

// heading begins a part of the page.
func (p *page) heading(title string) {
	p.item()
	p.WriteString(title + "\n\n")
}

// item puts an empty line between what was written and what follows.
func (p *page) item() {
	if p.Len() > 0 && !strings.HasSuffix(p.String(), "\n\n") {
		p.WriteByte('\n')
	}
}

// line writes one line; the further lines of a message stand below its first.
func (p *page) line(indent int, format string, args ...any) {
	pad := strings.Repeat(" ", indent)
	text := fmt.Sprintf(format, args...)
	p.WriteString(pad + strings.ReplaceAll(text, "\n", "\n"+pad+"  ") + "\n")
}

// statusText is what "vela status" prints, and below it what only we know.
func statusText(app *oam.Application, paint painter) string {
	p := &page{painter: paint}
	p.about(app)
	if w := app.Status.Workflow; w != nil {
		p.workflow(w)
	}
	if len(app.Status.Services) > 0 {
		p.services(app)
	}
	if len(app.Status.Sources) > 0 {
		p.sources(app.Status.Sources)
	}
	if failing := problems(app); len(failing) > 0 {
		p.problems(failing)
	}
	return p.String()
}

func (p *page) about(app *oam.Application) {
	p.heading("About:")
	for _, row := range [][2]string{
		{"Name:", app.Name},
		{"Namespace:", app.Namespace},
		{"Created at:", createdTime(app)},
		{"Healthy:", glyph(healthyApp(app))},
		{"Details:", p.appPhase(app.Status.Phase)},
	} {
		p.line(2, "%-11s\t%s", row[0], row[1])
	}
}

func (p *page) workflow(w *oam.WorkflowStatus) {
	p.heading("Workflow:")
	p.line(2, "mode: %s", printable(w.Mode))
	p.line(2, "finished: %t", w.Finished)
	p.line(2, "Suspend: %t", w.Suspend)
	p.line(2, "Terminated: %t", w.Terminated)
	p.line(2, "Steps")
	for _, s := range w.Steps {
		p.step(2, s)
		for _, sub := range s.SubSteps {
			p.step(4, sub)
		}
	}
}

func (p *page) step(indent int, s oam.StepStatus) {
	p.line(indent, "- id: %s", printable(s.ID))
	p.line(indent+2, "name: %s", printable(s.Name))
	p.line(indent+2, "type: %s", printable(s.Type))
	p.line(indent+2, "phase: %s", p.stepPhase(s.Phase))
	if s.Message != "" {
		p.line(indent+2, "message: %s", printable(s.Message))
	}
}

func (p *page) services(app *oam.Application) {
	p.heading("Services:")
	for _, s := range app.Status.Services {
		p.item()
		p.line(2, "- Name: %s", printable(s.Name))
		p.line(4, "Cluster: %s", cmp.Or(printable(s.Cluster), "local"))
		p.line(4, "Namespace: %s", cmp.Or(printable(s.Namespace), app.Namespace))
		p.line(4, "Type: %s", componentType(app, s.Name))
		p.line(4, "Health: %s", glyph(s.Healthy))
		if s.Message != "" {
			p.line(6, "Message: %s", printable(s.Message))
		}
		if len(s.Traits) == 0 {
			p.line(4, "No trait applied")
			continue
		}
		p.line(4, "Traits:")
		for _, t := range s.Traits {
			p.line(6, "Type: %s", printable(t.Type))
			p.line(6, "Health: %s", traitGlyph(t))
			if t.Message != "" {
				p.line(8, "Message: %s", printable(t.Message))
			}
		}
	}
}

func (p *page) sources(sources []oam.Source) {
	p.heading("Sources:")
	for _, s := range sources {
		p.item()
		p.line(2, "- Component: %s", printable(s.Component))
		p.line(4, "Commit: %s", cmp.Or(printable(s.Commit), "none yet"))
		p.line(4, "Ref: %s", printable(s.Ref))
		p.line(4, "URL: %s", withoutCredentials(printable(s.URL)))
	}
}

func (p *page) problems(failing []metav1.Condition) {
	p.heading("Problems:")
	for _, c := range failing {
		p.item()
		p.line(2, "- Condition: %s", p.red(printable(c.Type)))
		p.line(4, "Reason: %s", printable(c.Reason))
		if c.Message != "" {
			p.line(4, "Message: %s", printable(c.Message))
		}
		if hint := hintFor(c); hint != "" {
			p.line(4, "Hint: %s", hint)
		}
	}
}

func (p *page) appPhase(phase oam.Phase) string {
	text := printable(string(phase))
	switch phase {
	case oam.PhaseRunning:
		return p.green(text)
	case oam.PhaseWorkflowFailed:
		return p.red(text)
	default:
		return p.yellow(text)
	}
}

func (p *page) stepPhase(phase oam.StepPhase) string {
	text := printable(string(phase))
	switch phase {
	case oam.StepSucceeded:
		return p.green(text)
	case oam.StepFailed:
		return p.red(text)
	default:
		return p.yellow(text)
	}
}

func glyph(healthy bool) string {
	if healthy {
		return "✅"
	}
	return "❌"
}

func traitGlyph(t oam.TraitStatus) string {
	if t.Pending {
		return "⏳"
	}
	return glyph(t.Healthy)
}

func componentType(app *oam.Application, name string) string {
	for _, c := range app.Spec.Components {
		if c.Name == name {
			return printable(c.Type)
		}
	}
	return "-"
}

// withoutCredentials keeps of a URL what may be shown.
func withoutCredentials(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}
