package main

import (
	"context"
	"runtime"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// unattended are the flags of setup and join for machines that nobody watches.
type unattended struct {
	Log   string `group:"Unattended:" placeholder:"LOG" help:"Where each mint, renewal and refusal is written down: journald, syslog, a file's absolute path, or none (default: none, or as set up before)."`
	Timer bool   `group:"Unattended:" help:"Have this machine renew what is due by itself: by a timer of your systemd, or by a line for cron."`
}

func (u unattended) check() error {
	switch {
	case u.Timer && runtime.GOOS == "windows":
		return ui.Usagef("--timer needs systemd or cron; have the Task Scheduler run: %s renew", ui.Program)
	case u.Log != "" && u.Log != prepare.NoLog && !profile.IsLog(u.Log):
		return ui.Usagef("invalid --log %q: must be journald, syslog, none or a file's absolute path", u.Log)
	}
	return nil
}

// withTimer does the command's work, and what --timer asks for.
func (u unattended) withTimer(ctx context.Context, h *host.Host, report ui.Report, dry bool,
	work func(context.Context, *host.Host) error) error {
	if !u.Timer {
		return work(ctx, h)
	}
	return lifecycle.WithTimer(ctx, h, report, dry, work)
}
