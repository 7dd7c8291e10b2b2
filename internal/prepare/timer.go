package prepare

import (
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/timer"
)

// Timer is the timer of this machine's user, which is there or not.
func Timer(h *host.Host) (timer.Machine, error) {
	home, err := h.Home()
	if err != nil {
		return timer.Machine{}, err
	}
	program, err := host.PluginPath()
	return timer.Machine{Home: home, Program: program, Settings: h.BareSettings(),
		Environ: h.SessionSettings()}, err
}
