package lifecycle

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/timer"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// WithTimer does a command's work between the check of a timer and its installation. A dry run ends
// before that.
func WithTimer(ctx context.Context, h *host.Host, report ui.Report, dry bool,
	work func(context.Context, *host.Host) error) error {
	machine, err := prepare.Timer(h)
	if err == nil {
		err = machine.Check()
	}
	if err == nil {
		err = work(ctx, h)
	}
	if err != nil || dry {
		return err
	}
	return installTimer(ctx, h, machine, report)
}

// installTimer has this machine renew what is due by itself, or says what the user can do for it.
func installTimer(ctx context.Context, h *host.Host, machine timer.Machine,
	report ui.Report) error {
	kind, err := machine.Install(ctx)
	if err != nil {
		return err
	}
	switch kind {
	case timer.Systemd:
		report(ui.Step, "timer: systemd renews what is due, every "+timer.Every)
		if !timer.Lingers(h.User()) {
			report(ui.Hint, "it does so while you are logged in; to have it run "+
				"always: loginctl enable-linger")
		}
	case timer.Cron:
		report(ui.Step, "timer: a line of your crontab renews what is due already")
	default:
		report(ui.Hint, "no systemd of yours answers here; to have cron renew what is "+
			"due: "+machine.CrontabCommand())
	}
	return nil
}

// TimerLine is what a timer would run.
func TimerLine(h *host.Host) string {
	machine, err := prepare.Timer(h)
	if err != nil {
		return err.Error()
	}
	return machine.Crontab()
}

// isLast reports whether there is no profile but the one of a name.
func isLast(h *host.Host, name string) bool {
	profiles, err := h.Profiles()
	if err != nil {
		return false
	}
	names, err := profiles.Names()
	return err == nil && (len(names) == 0 || len(names) == 1 && names[0] == name)
}

// removeTimer ends the timer when there is no profile left that it could renew.
func removeTimer(ctx context.Context, h *host.Host, report ui.Report) {
	machine, err := prepare.Timer(h)
	if err != nil || !isLast(h, "") {
		return
	}
	kind, err := machine.Remove(ctx)
	switch {
	case err != nil:
		report(ui.Warning, fmt.Sprintf("no profile is left to renew, but the timer may "+
			"still be there: %v", err))
	case kind == timer.Systemd:
		report(ui.Step, "timer: removed, there is no profile left to renew")
	case kind == timer.Cron:
		report(ui.Hint, "there is no profile left to renew; take the line out of your "+
			"crontab: crontab -e")
	}
}
