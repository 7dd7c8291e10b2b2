package prepare

import (
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Text is the proof in a few lines.
func (p *Proof) Text(now time.Time, look ui.Look) []byte {
	rows := [][2]string{{"who", p.User}}
	if !p.Expires.IsZero() {
		rows = append(rows, [2]string{"token",
			fmt.Sprintf("until %s (%s), then a new one by itself",
				ui.Date(p.Expires), ui.Age(p.Expires.Sub(now)))})
	}
	for i, can := range rightsText(p.Access) {
		rows = append(rows, [2]string{map[bool]string{true: "can"}[i == 0], can})
	}
	rows = append(rows, [2]string{"cannot", strings.Join(p.Access.Cannot, ", ")},
		[2]string{"beware", beware(p)},
		[2]string{"bootstrap", p.Bootstrap}, [2]string{"may be off", p.MayBeOff},
		[2]string{"recovers", p.Recovery},
		[2]string{"kept in", p.Store}, [2]string{"because", strings.Join(p.Passed, "; ")},
		[2]string{"logged in", p.Log},
		[2]string{"profile", p.Profile})
	if p.Context != "" {
		rows = append(rows, [2]string{"context", fmt.Sprintf("%s, in %s", p.Context,
			p.File)})
	}
	return []byte(look.Colours.Paint(ui.Proof, "It works.") + "\n" +
		strings.Join(look.Pairs(rows), "\n") +
		"\nNext: " + look.Colours.Paint(ui.Bold, nextCommand(p)) + "\n")
}

// rights are lines on what an account can do.
func rightsText(access cluster.Access) []string {
	var lines []string
	for _, permission := range access.Can {
		lines = append(lines, permission.String())
	}
	switch {
	case access.Incomplete:
		lines = append(lines, "maybe more: the list of rights is partial (webhook "+
			"authorizer)")
	case len(lines) == 0:
		lines = append(lines, "nothing beyond what every account can; grant it something "+
			"with --role or --cluster-role")
	}
	return lines
}

// beware names the rights by which the account can become another one.
func beware(p *Proof) string {
	if len(p.Risks) == 0 {
		return ""
	}
	return "in its own namespace it can " + strings.Join(p.Risks, ", ") +
		", and so become any other account there; see --in"
}

// nextCommand is what to type now.
func nextCommand(p *Proof) string {
	line := []string{"kubectl"}
	switch {
	case p.Context == "":
		line = append(line, "--kubeconfig", "FILE")
	case p.IsElsewhere:
		line = append(line, "--kubeconfig", p.File, "--context", p.Context)
	default:
		line = append(line, "--context", p.Context)
	}
	if !canListPods(p) {
		return ui.CommandLine(append(line, "auth", "can-i", "--list")...)
	}
	return ui.CommandLine(append(line, "get", "pods")...)
}

func canListPods(p *Proof) bool {
	for _, permission := range p.Access.Can {
		text := permission.String()
		if strings.Contains(text, "list") && strings.Contains(text, "pods") ||
			strings.Contains(text, "*") {
			return true
		}
	}
	return false
}
