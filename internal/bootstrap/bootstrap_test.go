//go:build unix

package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// one is a store with one entry, or an error.
type one struct {
	keyring.Store
	key   string
	entry keyring.Entry
	err   error
}

func (o one) Get(_ context.Context, key string) (keyring.Entry, error) {
	if o.err == nil && key != o.key {
		return keyring.Entry{}, keyring.ErrNotFound
	}
	return o.entry, o.err
}

func profileWith(b profile.Bootstrap) profile.Profile {
	return profile.Profile{Name: "p", Cluster: profile.Cluster{Server: server},
		Namespace: "build", ServiceAccount: "ci",
		Device: "d", Bootstrap: b}
}

func systemWith(store keyring.Store, variables map[string]string) System {
	return System{Store: store, Key: "bootstrap:mine", Now: func() time.Time { return now },
		Getenv: func(name string) string { return variables[name] }}
}

func TestKeyring(t *testing.T) {
	p := profileWith(profile.Bootstrap{Source: profile.SourceKeyring})
	entry := keyring.Entry{Token: secret.New("tok"), IssuedAt: now.Add(-time.Hour),
		ExpiresAt: now.Add(time.Hour)}
	expiring := func(in time.Duration) keyring.Entry {
		e := entry
		e.ExpiresAt = now.Add(in)
		return e
	}
	tests := []struct {
		name string
		one  one
		err  error
		due  bool
	}{
		{name: "a credential in its first half is used", one: one{key: "bootstrap:mine",
			entry: entry}},
		{name: "one in its second half is due for renewal",
			one: one{key: "bootstrap:mine", entry: expiring(time.Hour - 2)}, due: true},
		{name: "one that is about to expire is used",
			one: one{key: "bootstrap:mine", entry: expiring(1)}, due: true},
		{name: "one that has expired is not",
			one: one{key: "bootstrap:mine", entry: expiring(0)}, err: ErrExpired},
		{name: "another profile's is not found",
			one: one{key: "bootstrap:other", entry: entry}, err: ErrMissing},
		{name: "a store that fails says so", one: one{err: keyring.ErrLocked},
			err: keyring.ErrLocked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Find(t.Context(), p, systemWith(tt.one, nil))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			checkConfig(t, got.Config, &rest.Config{Host: server, BearerToken: "tok"})
			if got.RenewalDue != tt.due {
				t.Errorf("due %v, %+v", got.RenewalDue, got.Config)
			}
		})
	}
}

func TestFilesAndVariables(t *testing.T) {
	folder := t.TempDir()
	file := func(text string) profile.Bootstrap {
		path := filepath.Join(folder, strconv.Itoa(len(text))+".token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return profile.Bootstrap{Source: profile.SourceTokenFile, Path: path}
	}
	at := func(path string) profile.Bootstrap {
		return profile.Bootstrap{Source: profile.SourceTokenFile, Path: path}
	}
	pipe, link := filepath.Join(folder, "pipe"), filepath.Join(folder, "link")
	linked := file("linked").Path
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Symlink(linked, link)); err != nil {
		t.Fatal(err)
	}
	variable := func(name string) profile.Bootstrap {
		return profile.Bootstrap{Source: profile.SourceEnv, Variable: name}
	}
	variables := map[string]string{"TOKEN": " tok\n", "BLANK": " \n", "BINARY": "a\x00b"}
	tests := []struct {
		name      string
		bootstrap profile.Bootstrap
		want      string
		err       error
	}{
		{name: "a file's token is read without the line's end", bootstrap: file("tok\n"),
			want: "tok"},
		{name: "a link is followed, as kubelet makes them", bootstrap: at(link),
			want: "linked"},
		{name: "an empty file holds none", bootstrap: file(""), err: ErrMissing},
		{name: "a missing file holds none",
			bootstrap: at(filepath.Join(folder, "none")), err: ErrMissing},
		{name: "a folder is no file", bootstrap: at(folder), err: ErrSource},
		{name: "a pipe is not waited for", bootstrap: at(pipe), err: ErrSource},
		{name: "a device is not read", bootstrap: at("/dev/zero"), err: ErrSource},
		{name: "a file of several words is no token", bootstrap: file("user: password"),
			err: ErrSource},
		{name: "a huge file is no token",
			bootstrap: file(strings.Repeat("x", secret.MaxToken+10)), err: ErrSource},
		{name: "a variable's token is read", bootstrap: variable("TOKEN"), want: "tok"},
		{name: "an unset variable holds none", bootstrap: variable("UNSET"),
			err: ErrMissing},
		{name: "a blank variable holds none", bootstrap: variable("BLANK"),
			err: ErrMissing},
		{name: "a variable of other text is no token", bootstrap: variable("BINARY"),
			err: ErrSource},
		{name: "an unknown source gives none",
			bootstrap: profile.Bootstrap{Source: "ldap"}, err: ErrSource},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Find(t.Context(), profileWith(tt.bootstrap), systemWith(nil,
				variables))
			check(t, got, err, tt.want, tt.err)
		})
	}
}

func TestCommands(t *testing.T) {
	t.Setenv("FORGED", "yes")
	typed(t)
	shell := func(script string) profile.Bootstrap {
		return profile.Bootstrap{Source: profile.SourceCommand,
			Command:     []string{"/bin/sh", "-c", script},
			Environment: map[string]string{"AGREED": "tok"}}
	}
	tests := []struct {
		name      string
		bootstrap profile.Bootstrap
		want      string
		err       error
	}{
		{name: "its output is the token", bootstrap: shell("echo tok"), want: "tok"},
		{name: "it sees the environment of the profile", bootstrap: shell("echo $AGREED"),
			want: "tok"},
		{name: "it sees nothing of the caller's environment",
			bootstrap: shell("echo a$FORGED"), want: "a"},
		{name: "it does not run in the caller's folder", bootstrap: shell("pwd"),
			want: "/"},
		{name: "what it is told is not looked at by a shell", want: "$AGREED;x",
			bootstrap: profile.Bootstrap{Source: profile.SourceCommand,
				Command: []string{"/bin/echo", "$AGREED;x"}}},
		{name: "it may say what it likes on standard error",
			bootstrap: shell("echo noise >&2; echo tok"), want: "tok"},
		{name: "standard input is empty", bootstrap: shell("cat; echo tok"), want: "tok"},
		{name: "a child that keeps its output open is not waited for",
			bootstrap: shell("sleep 30 & echo tok"), want: "tok"},
		{name: "one that prints nothing has none", bootstrap: shell("true"),
			err: ErrMissing},
		{name: "one that fails has none", bootstrap: shell("echo tok; exit 3"),
			err: ErrSource},
		{name: "one that is killed has none", bootstrap: shell("echo tok; kill -9 $$"),
			err: ErrSource},
		{name: "one that prints without end has none",
			bootstrap: shell("head -c 4000000 /dev/zero | tr '\\0' x"), err: ErrSource},
		{name: "one that is not there has none", err: ErrSource,
			bootstrap: profile.Bootstrap{Source: profile.SourceCommand,
				Command: []string{"/nonexistent/vault"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stderr := captureStderr(t)
			got, err := Find(t.Context(), profileWith(tt.bootstrap), systemWith(nil,
				nil))
			check(t, got, err, tt.want, tt.err)
			if err != nil && strings.Contains(err.Error(), "tok") {
				t.Errorf("the error quotes the output: %v", err)
			}
			if said := stderr(); said != "" {
				t.Errorf("on standard error: %q", said)
			}
		})
	}
}

func TestACommandThatHangsIsEndedWithItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx := untilWritten(t, file)
	script := fmt.Sprintf("sleep 1000 & echo $! > %s; wait", file)
	b := profile.Bootstrap{Source: profile.SourceCommand, Command: []string{"/bin/sh", "-c",
		script}}
	if _, err := Find(ctx, profileWith(b), systemWith(nil, nil)); !errors.Is(err, ErrSource) {
		t.Errorf("error %v", err)
	}
	waitUntilEnded(t, file)
}

// untilWritten is a context that ends once something is in the file: a program hangs, and has its
// child.
func untilWritten(t *testing.T, file string) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if data, _ := os.ReadFile(file); len(data) > 0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return ctx
}

// waitUntilEnded waits for the process whose id is in the file.
func waitUntilEnded(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child still runs")
		}
	}
}

// running is false for a process that has ended and waits for somebody to collect it.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	return !strings.Contains(string(stat), ") Z ")
}

func TestSourcesThatLeadBackToTheirProfile(t *testing.T) {
	command := profile.Bootstrap{Source: profile.SourceCommand,
		Command: []string{"/bin/sh", "-c", "echo $" + WithinVariable}}
	tests := []struct {
		name   string
		within string
		want   string
		err    error
	}{
		{name: "the first is in none", within: "", want: "p"},
		{name: "the second is in another", within: "q", want: "q,p"},
		{name: "its own is refused", within: "p", err: ErrSource},
		{name: "its own is refused by way of others", within: "p,q", err: ErrSource},
		{name: "one whose name it ends with is another", within: "pp", want: "pp,p"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			system := systemWith(nil, map[string]string{WithinVariable: tt.within})
			got, err := Find(t.Context(), profileWith(command), system)
			check(t, got, err, tt.want, tt.err)
		})
	}
}

func encoded(b []byte) string {
	text, err := profile.Base64(b).MarshalText()
	if err != nil {
		panic(err)
	}
	return string(text)
}

func check(t *testing.T, got Credential, err error, want string, wantErr error) {
	t.Helper()
	if !errors.Is(err, wantErr) {
		t.Fatalf("error %v, want %v", err, wantErr)
	}
	if err == nil && got.Config.BearerToken != want {
		t.Errorf("token %q, want %q", got.Config.BearerToken, want)
	}
}

// captureStderr takes what is written to standard error until the function it returns is called.
func captureStderr(t *testing.T) func() string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = file
	t.Cleanup(func() { os.Stderr = before })
	return func() string {
		said, err := os.ReadFile(file.Name())
		if err != nil {
			t.Error(err)
		}
		return string(said)
	}
}
