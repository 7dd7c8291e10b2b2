package keyring

import (
	"os"
	"os/signal"
	"syscall"
)

// uninterrupted runs an exchange of a few milliseconds, bounded by its caller, and lets signals
// that would end the process wait until it is over: a client that leaves in the middle of one can
// end gnome-keyring, see caller. Ctrl-C in a kubectl reaches this process too.
func uninterrupted(exchange func() error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := exchange()
	signal.Stop(signals)
	select {
	case received := <-signals:
		// Where nobody else asked to be told, this now does what it would have done at
		// once.
		_ = syscall.Kill(os.Getpid(), received.(syscall.Signal))
	default:
	}
	return err
}
