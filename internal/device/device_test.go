package device

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func account(server, name string) profile.Profile {
	return profile.Profile{Name: "p", Cluster: profile.Cluster{Server: server},
		Namespace: "build", ServiceAccount: name}
}

// saved is a directory with the record of one account, in which everything is set.
func saved(t *testing.T) (Dir, Record) {
	t.Helper()
	dir := DirIn(t.TempDir())
	l, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	l.Current = &profile.Device{Name: "ci-device-a", SecretUID: "1", AccountUID: "2"}
	l.Next, l.ClusterUID, l.Revoked = "b", "cluster", true
	l.Retired = []profile.Device{{Name: "ci-device-0", SecretUID: "0", AccountUID: "0"}}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	return dir, l.Record
}

func TestRecord(t *testing.T) {
	t.Run("is read as it was saved", func(t *testing.T) {
		dir, want := saved(t)
		got, err := dir.Load(want.Name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
		}
	})
	t.Run("is one for all profiles of an account, however the cluster is spelled",
		func(t *testing.T) {
			first, _ := NameFor(account("https://a:6443", "ci"))
			again, _ := NameFor(account("HTTPS://A:6443/", "ci"))
			if first == "" || first != again {
				t.Errorf("%q and %q", first, again)
			}
		})
	t.Run("is another for another account or cluster", func(t *testing.T) {
		names := map[string]bool{}
		for _, p := range []profile.Profile{account("https://a:6443", "ci"),
			account("https://b:6443", "ci"), account("https://a:6443", "cd")} {
			name, err := NameFor(p)
			if err != nil || profile.CheckName(name) != nil {
				t.Errorf("%q, %v", name, err)
			}
			names[name] = true
		}
		if len(names) != 3 {
			t.Errorf("the names are %v", names)
		}
	})
	t.Run("holds no secret and is for its owner alone", func(t *testing.T) {
		dir, record := saved(t)
		info, err := os.Stat(dir.path(record.Name))
		if err != nil || info.Mode().Perm() != files.PrivateFile {
			t.Errorf("%v, %v", info, err)
		}
	})
	t.Run("leaves no lock behind", func(t *testing.T) {
		dir, _ := saved(t)
		entries, err := os.ReadDir(string(dir))
		if err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
	})
	t.Run("that is removed is missing", func(t *testing.T) {
		dir, record := saved(t)
		if err := dir.Remove(record.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.Load(record.Name); !errors.Is(err, ErrMissing) {
			t.Errorf("error %v", err)
		}
		if err := dir.Remove(record.Name); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestRecordOfAKilledCommand(t *testing.T) {
	dir, record := saved(t)
	left := filepath.Join(string(dir), "."+record.Name+extension+".1234.tmp")
	if err := os.WriteFile(left, nil, files.PrivateFile); err != nil {
		t.Fatal(err)
	}
	l, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its temporary file is still there: %v", err)
	}
}

func TestRecordThatCannotBeSavedStaysAsItWas(t *testing.T) {
	dir, want := saved(t)
	l, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	// What cannot be replaced by a rename is a directory.
	path := dir.path(want.Name)
	if err := errors.Join(os.Rename(path, path+".kept"), os.Mkdir(path,
		files.PrivateDir)); err != nil {
		t.Fatal(err)
	}
	l.Next = "changed"
	if err := l.Save(); err == nil {
		t.Error("it was saved")
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".kept", path)); err != nil {
		t.Fatal(err)
	}
	l.Next = strings.Repeat("x", maxSize) // could not be read again
	if err := l.Save(); !errors.Is(err, ErrMalformed) {
		t.Errorf("a long one: %v, want %v", err, ErrMalformed)
	}
	if got, err := dir.Load(want.Name); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func TestSweepTakesRevokedRecordsThatNoProfileNames(t *testing.T) {
	for _, test := range []struct {
		name           string
		revoked, named bool
		swept          bool
	}{
		{"revoked, and no profile is left", true, false, true},
		{"revoked, and revoke was interrupted before the last profile", true, true, false},
		{"a setup was interrupted before there was a profile", false, false, false},
		{"in use", false, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, record := saved(t)
			l, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
			if err != nil {
				t.Fatal(err)
			}
			l.Revoked = test.revoked
			if err := l.Save(); err != nil {
				t.Fatal(err)
			}
			l.Release()
			swept := dir.Sweep(func(string) bool { return test.named })
			_, err = dir.Load(record.Name)
			if gone := errors.Is(err, ErrMissing); gone != test.swept ||
				(len(swept) == 1) != test.swept {
				t.Errorf("swept %q, and then %v", swept, err)
			}
		})
	}
}

func TestRecordThatCannotBeUsed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(text string) string
	}{
		{"an unknown field", func(s string) string { return s + "extra: 1\n" }},
		{"another version", func(s string) string {
			return strings.Replace(s, "version: 1",
				"version: 2", 1)
		}},
		{"no account", func(s string) string {
			return strings.Replace(s,
				"serviceAccount: ci", "serviceAccount: ''", 1)
		}},
		{"a device without a uid", func(s string) string {
			return strings.Replace(s,
				`secretUID: "1"`, "secretUID: ''", 1)
		}},
		{"no YAML", func(string) string { return "\t" }},
		{"nothing", func(string) string { return "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, record := saved(t)
			data, err := os.ReadFile(dir.path(record.Name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir.path(record.Name),
				[]byte(test.change(string(data))), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := dir.Load(record.Name); !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("one that others can write", func(t *testing.T) {
		dir, record := saved(t)
		if err := os.Chmod(dir.path(record.Name), 0o622); err != nil {
			t.Fatal(err)
		}
		if _, err := dir.Load(record.Name); !errors.Is(err, files.ErrUntrusted) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a name that leads elsewhere", func(t *testing.T) {
		dir, _ := saved(t)
		if _, err := dir.Load(filepath.Join("..", "x")); !errors.Is(err, ErrMalformed) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRecordIsChangedByOneAtATime(t *testing.T) {
	dir, _ := saved(t)
	first, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := dir.Lock(ctx, account("https://a:6443", "ci")); !errors.Is(err,
		files.ErrBusy) {
		t.Errorf("error %v", err)
	}
	first.Next = "changed"
	if err := first.Save(); err != nil {
		t.Fatal(err)
	}
	first.Release()
	second, err := dir.Lock(t.Context(), account("https://a:6443", "ci"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Release()
	if second.Next != "changed" {
		t.Errorf("read %q: not what was saved under the lock", second.Next)
	}
}
