package main

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// TestHintsAreForTheOperation is the table of what the same answer of an API server means in each
// command: who has been refused is the bootstrap credential in get, and an administrator's
// context elsewhere.
func TestHintsAreForTheOperation(t *testing.T) {
	const (
		admin  = otherLogin
		dryRun = " is allowed to, or have an administrator run this with " +
			"--dry-run and apply what it prints, and use --no-rbac"
		elsewhere, named = ", or set it up with another --bootstrap", ", or name another context with "
		policy           = "; to see the policy: kubectl kuberc view"
	)
	for operation, hints := range map[string]map[error]string{
		"get": {
			api.ErrUnauthorized: setupAgain,
			api.ErrForbidden:    granted,
			kuberc.ErrDenied:    allowPlugin + elsewhere + policy,
			api.ErrNotFound:     setupAgain,
			api.ErrTimeout:      network,
		},
		"doctor": {
			api.ErrUnauthorized: setupAgain,
			api.ErrForbidden:    granted,
			kuberc.ErrDenied:    allowPlugin + elsewhere + policy,
			api.ErrNotFound:     setupAgain,
			api.ErrTimeout:      network,
		},
		"setup": {
			api.ErrUnauthorized: admin,
			api.ErrForbidden:    "use a --context that" + dryRun,
			kuberc.ErrDenied:    allowPlugin + named + "--context",
			api.ErrNotFound: "create what is missing, or leave out the flag that " +
				"names it",
			api.ErrTimeout: adminServer,
		},
		"migrate": {
			api.ErrUnauthorized: "log in again with the context's own tool, or name " +
				"another one with --admin-context",
			api.ErrForbidden: "use an --admin-context that is allowed to",
			kuberc.ErrDenied: allowPlugin + named + "--admin-context",
			api.ErrNotFound:  "create what is missing, then run migrate again",
			api.ErrTimeout:   adminServer,
		},
		"devices": {
			api.ErrUnauthorized: admin,
			api.ErrForbidden: "use a --context that is allowed to list Secrets in " +
				"the namespace",
			api.ErrNotFound: listAccounts,
			api.ErrTimeout:  adminServer,
		},
		"revoke": {
			api.ErrUnauthorized: admin,
			api.ErrForbidden: "use a --context that is allowed to list and delete " +
				"Secrets in the namespace",
			api.ErrNotFound: listDevices,
			api.ErrTimeout:  adminServer,
		},
		"rotate": {
			api.ErrUnauthorized: admin,
			api.ErrForbidden: "use a --context that is allowed to create and " +
				"delete Secrets and to create tokens",
			api.ErrNotFound: setupAgain,
			api.ErrTimeout:  adminServer,
		},
	} {
		for kind, want := range hints {
			t.Run(operation+"/"+kind.Error(), func(t *testing.T) {
				at := advice.Situation{Operation: operation}
				if _, hint := explain(at, fmt.Errorf("doing: %w", kind)); hint != want {
					t.Errorf("got  %s\nwant %s", hint, want)
				}
			})
		}
	}
}

// TestNoOperationHintsAtItself: setup does not answer with "set it up again".
func TestNoOperationHintsAtItself(t *testing.T) {
	for operation, list := range ofOperation {
		for _, p := range list {
			if operation == "setup" && strings.Contains(p.hint, setupAgain) {
				t.Errorf("%s answers %v with itself", operation, p.kind)
			}
		}
	}
}

func TestEveryKindIsAnsweredOnce(t *testing.T) {
	seen := map[error]bool{}
	for _, p := range general {
		if seen[p.kind] || p.hint == "" || p.code < exitUnexpected ||
			p.code > exitForbidden {
			t.Errorf("%v: code %d, hint %q, seen %v", p.kind, p.code, p.hint,
				seen[p.kind])
		}
		seen[p.kind] = true
	}
}

// TestWhatHintsGiveToTypeStandsAfterAColon is about the tables: tests in test/scripts and
// test/circle find commands there, and type them.
func TestWhatHintsGiveToTypeStandsAfterAColon(t *testing.T) {
	lists := append(slices.Collect(maps.Values(ofOperation)), general)
	command := regexp.MustCompile(`(sa-exec-credential|kubectl|chmod|rm|keyctl) [a-z-]`)
	known := regexp.MustCompile(`\{(setup|again|store|move|admin|kubectl|config|program|` +
		`account|invite|elsewhere)( [^{}]*)?\}`)
	for _, p := range slices.Concat(lists...) {
		hint := strings.ReplaceAll(p.hint, " {directory}", " /directory")
		hint = known.ReplaceAllString(hint, "kubectl x")
		for _, at := range command.FindAllStringIndex(hint, -1) {
			if before := hint[:at[0]]; !strings.HasSuffix(before, ": ") {
				t.Errorf("%v: %s: a command without a colon", p.kind, p.hint)
			}
		}
		if strings.ContainsAny(hint, "{}") {
			t.Errorf("%v: %s: nobody completes that", p.kind, p.hint)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		name       string
		args       []string
		says, hint string
	}{
		{"an unknown command is called one", []string{"nope"}, `unknown command "nope"`,
			"run: sa-exec-credential --help"},
		{"so is one before flags", []string{"nope", "-v"}, `unknown command "nope"`,
			"run: sa-exec-credential --help"},
		{"an unknown flag is a command's", []string{"status", "--nope"},
			"unknown flag --nope", "run: sa-exec-credential status --help"},
		{"an argument too many is, too", []string{"status", "nope"},
			"unexpected argument nope", "run: sa-exec-credential status --help"},
		{"a missing flag is named", []string{"rotate"}, "missing flags: --profile=NAME",
			"run: sa-exec-credential rotate --help"},
		{"flags that contradict each other are", []string{"setup", "ci", "--no-rbac",
			"--role", "r"},
			"--no-rbac cannot be combined with --role, --cluster-role, --verb or --in",
			"run: sa-exec-credential setup --help"},
		{"an audience says what it must be", []string{"setup", "ci", "--audience", "a,b"},
			`invalid audience "a,b"`, "run: sa-exec-credential setup --help"},
		{"a lifetime says what it must be", []string{"setup", "ci", "--duration", "5m"},
			`invalid --duration "5m`, "run: sa-exec-credential setup --help"},
		{"a command source without a command has an example", []string{"setup", "ci",
			"--bootstrap", "command="},
			`--bootstrap command= needs a command, for example command="vault kv get -field=token secret/ci"`, "run: sa-exec-credential setup --help"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := runIn(withStore(t,
				&oddStore{getErr: keyring.ErrNotFound}), test.args...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, printed %q", code, stdout)
			}
			if !strings.HasPrefix(stderr, ui.Program+": error: "+test.says) ||
				!strings.HasSuffix(stderr, ui.Program+": hint: "+test.hint+"\n") {
				t.Errorf("said %s", stderr)
			}
		})
	}
}

func TestHelpEndsWithExamples(t *testing.T) {
	commands := []string{""}
	for field := range reflect.TypeFor[grammar]().Fields() {
		_, is := field.Tag.Lookup("cmd")
		_, hidden := field.Tag.Lookup("hidden")
		if is && !hidden {
			commands = append(commands,
				cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name)))
		}
	}
	for _, name := range commands {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(name + " --help")
			code, stdout, _ := runIn(withStore(t, &oddStore{}), args...)
			_, after, found := strings.Cut(stdout, "\nExamples:\n")
			if code != exitDone || !found || strings.Count(after, ui.Program) < 2 {
				t.Errorf("exit code %d, %s", code, stdout)
			}
		})
	}
}
