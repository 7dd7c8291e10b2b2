package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func TestDoctorSaysOnceWhatAStoreFailsWith(t *testing.T) {
	locked := func(doing string) error { return fmt.Errorf("%s: %w", doing, keyring.ErrLocked) }
	for _, test := range []struct {
		name   string
		store  *oddStore
		detail string
	}{
		{"everything fails alike", &oddStore{setErr: keyring.ErrLocked,
			deleteErr: keyring.ErrLocked}, "odd store: the keyring is locked"},
		{"everything fails in its own words", &oddStore{setErr: locked("writing"),
			deleteErr: locked("deleting")},
			"odd store: writing: the keyring is locked"},
		{"reading and deleting fail", &oddStore{getErr: locked("reading"),
			deleteErr: locked("deleting")},
			"odd store: reading: the keyring is locked"},
		{"only deleting fails", &oddStore{deleteErr: locked("deleting")},
			"odd store: deleting: the keyring is locked"},
		{"an entry is not given back", &oddStore{forgets: true},
			"odd store: no keyring is available: it does not give back what was put " +
				"in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, _ := runIn(withStore(t, test.store), "doctor")
			if code != exitStore || !strings.Contains(stdout, test.detail+"\n") {
				t.Errorf("exit code %d, got %s\nwant a line that ends with %q",
					code, stdout, test.detail)
			}
		})
	}
}
