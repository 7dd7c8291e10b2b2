package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
)

// outcome is what came of one context.
type outcome struct {
	context string
	profile string
	account string
	err     error
}

// runMany prepares the clusters of several contexts side by side. One that fails does not stop the others; the table at
// the end says which failed and why.
func (c *setupCommand) runMany(ctx context.Context, env *environment, paths, names []string) error {
	if c.Output == "-" {
		return fmt.Errorf("%w: -o - prints the kubeconfig of a single context", errUsage)
	}
	outputs, err := c.outputPaths(env)
	if err != nil {
		return err
	}
	batch := kubeconfig.NewBatch(outputs)
	outcomes := make([]outcome, len(names))
	progress := newProgress(env, len(names))
	sideBySide(len(names), c.Parallel, func(i int) {
		progress.begin(names[i])
		outcomes[i] = c.prepareOne(ctx, env, paths, names[i], batch)
		progress.end(outcomes[i])
	})
	progress.finish()
	if err := env.write(outcomeTable(outcomes, env.colours())); err != nil {
		return err
	}
	return worst(outcomes)
}

func (c *setupCommand) prepareOne(ctx context.Context, env *environment, paths []string, name string, batch *kubeconfig.Batch) outcome {
	if err := ctx.Err(); err != nil {
		return outcome{context: name, err: errInterrupted}
	}
	p, err := c.newPreparation(env, paths, name)
	if err != nil {
		return outcome{context: name, err: err}
	}
	p.batch = batch
	result := outcome{context: name, profile: p.profile.Name, account: p.profile.Account()}
	_, result.err = p.run(ctx)
	if result.err != nil && ctx.Err() != nil {
		result.err = errInterrupted
	}
	return result
}

var errInterrupted = errors.New("interrupted")

// worst says how many failed, with the exit code and hint of the first.
func worst(outcomes []outcome) error {
	failed := 0
	var first error
	for _, o := range outcomes {
		if o.err != nil {
			failed++
			if first == nil {
				first = fmt.Errorf("context %q: %w", o.context, o.err)
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d contexts were not prepared; the first: %w", failed, len(outcomes), first)
}

func outcomeTable(outcomes []outcome, c colours) []byte {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "CONTEXT\tPROFILE\tACCOUNT\tRESULT")
	for _, o := range outcomes {
		result := "ready"
		if o.err != nil {
			result = "error: " + o.err.Error()
		}
		_, _ = fmt.Fprintln(w, strings.Join(mapped([]string{o.context, o.profile, o.account, result}, printable), "\t"))
	}
	_ = w.Flush()
	lines := strings.Split(b.String(), "\n")
	lines[0] = c.paint(bold, lines[0])
	for i, o := range outcomes {
		if o.err != nil {
			lines[i+1] = c.paint(red, lines[i+1])
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// progress is a bar on a terminal and a line for each context elsewhere.
type progress struct {
	mutex sync.Mutex
	env   *environment
	bar   bool
	total int
	done  int
	bad   int
}

const barWidth = 30

func newProgress(env *environment, total int) *progress {
	return &progress{env: env, bar: isTerminal(env.stderr) && env.getenv("TERM") != "dumb", total: total}
}

func (p *progress) begin(name string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.bar {
		p.draw(name)
	}
}

func (p *progress) end(o outcome) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.done++
	result := "ready"
	if o.err != nil {
		p.bad++
		result = "error: " + o.err.Error()
	}
	if p.bar {
		p.draw(o.context)
		return
	}
	p.env.log.line("setup", fmt.Sprintf("%d/%d %s: %s", p.done, p.total, o.context, result))
}

func (p *progress) draw(name string) {
	filled := barWidth * p.done / p.total
	failed := ""
	if p.bad > 0 {
		failed = fmt.Sprintf(", %d failed", p.bad)
	}
	if runes := []rune(printable(name)); len(runes) > 30 {
		name = string(runes[:29]) + "…"
	}
	_, _ = fmt.Fprintf(p.env.stderr, "\r\x1b[K[%s%s] %d/%d%s  %s", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled),
		p.done, p.total, failed, printable(name))
}

func (p *progress) finish() {
	if p.bar {
		_, _ = fmt.Fprint(p.env.stderr, "\r\x1b[K")
	}
}
