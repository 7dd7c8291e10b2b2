package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// repair is a fix that touches nothing but this machine. Each is one step that is taken or not, so
// that one that is killed leaves nothing half done.
type repair struct {
	what string // the finding's fix, or what does the same without a cluster
	do   func(context.Context) error
	// careful says that a person has to have looked: it makes something trusted again.
	careful bool
}

// with has a finding mended by a function, which does what its fix says.
func (f Finding) with(do func(context.Context) error) Finding {
	return f.mended(repair{what: f.Fix, do: do})
}

func (f Finding) mended(r repair) Finding {
	f.Local, f.repair = true, &r
	return f
}

// Fixing is how what is wrong on this machine is fixed.
type Fixing struct {
	// Ask is whether to go on; nil: nobody is asked, and what needs a person is left alone.
	Ask    func(question string) (bool, error)
	Report ui.Report
}

// Fix does what can be done about findings on this machine alone, and returns how much was done. What
// fails is reported, and what comes after it done all the same.
func (f Fixing) Fix(ctx context.Context, items []Finding) (done int, err error) {
	list := f.list(items)
	if len(list) == 0 || f.Ask == nil {
		return f.do(ctx, list), ctx.Err()
	}
	question := "Do these " + fmt.Sprint(len(list)) + "?"
	if len(list) == 1 {
		question = "Do this?"
	}
	if agreed, err := f.Ask(question); err != nil || !agreed {
		return 0, err
	}
	return f.do(ctx, list), ctx.Err()
}

// list says what will be done, each once: several findings can have the same cure.
func (f Fixing) list(items []Finding) (list []repair) {
	told := map[string]bool{}
	for _, item := range items {
		if item.repair == nil || told[item.repair.what] {
			continue
		}
		told[item.repair.what] = true
		where := strings.TrimPrefix("profile "+item.Profile+": ", "profile : ")
		if strings.HasPrefix(item.Detail, item.Profile+": ") { // a context of that name
			where = ""
		}
		if item.repair.careful && f.Ask == nil {
			f.Report(ui.Warning, where+item.Detail+"; nobody has looked at it, so it "+
				"stays; once you have: "+item.repair.what)
			continue
		}
		f.Report(ui.Warning, where+item.Detail+"; fix: "+item.repair.what)
		list = append(list, *item.repair)
	}
	if len(told) == 0 && slices.ContainsFunc(items, func(item Finding) bool {
		return item.Result != OK
	}) {
		f.Report(ui.Step, "nothing of it can be fixed on this machine alone")
	}
	return list
}

func (f Fixing) do(ctx context.Context, list []repair) (done int) {
	for _, r := range list {
		if ctx.Err() != nil {
			return done
		}
		if err := r.do(ctx); err != nil {
			f.Report(ui.Warning, fmt.Sprintf("not fixed: %v; by hand: %s", err, r.what))
			continue
		}
		f.Report(ui.Done, "fixed by "+r.what)
		done++
	}
	return done
}

// modes sets the modes of files and directories of this user's own, one after the other: what
// others could write to comes after what it is in.
func modes(change func(fs.FileMode) fs.FileMode, paths ...string) func(context.Context) error {
	return func(context.Context) error {
		for _, path := range paths {
			info, err := os.Lstat(path)
			if err == nil {
				err = files.CheckOwner(path, info)
			}
			if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
				err = fmt.Errorf("%w: %q is no file", files.ErrUntrusted, path)
			}
			if err == nil {
				err = os.Chmod(path, change(info.Mode().Perm()))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func withoutOthers(mode fs.FileMode) fs.FileMode { return mode &^ 0o077 }

func private(fs.FileMode) fs.FileMode { return files.PrivateFile }

func privateDir(fs.FileMode) fs.FileMode { return files.PrivateDir }

// isOwn reports whether modes can be set: what belongs to another user is not ours by a mode.
func isOwn(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool {
		info, err := os.Lstat(path)
		return err != nil || files.CheckOwner(path, info) != nil
	})
}

// remade has a context be as setup writes it, where the fix is that.
func (c *profileChecks) remade(item Finding, use kubeconfig.PluginContext) Finding {
	switch item.Fix {
	case c.mergeLine(use.File):
		return item.with(func(context.Context) error {
			_, err := prepare.ForProfile(c.host, c.profile).
				Merge([]string{use.File}, false)
			return err
		})
	case c.credentialsFix(use):
		if use.Profile != c.profile.Name || c.command() == "" {
			return item
		}
		return item.with(func(context.Context) error {
			entry, err := kubeconfig.EntryFor(c.profile, c.command())
			if err != nil {
				return err
			}
			return kubeconfig.ReplaceExec(use.File, use.User, entry,
				slices.Equal(use.Args, []string{"get"}))
		})
	}
	return item
}

// mergeLine is the command that puts the profile's context into a file.
func (c *profileChecks) mergeLine(file string) string {
	return ui.CommandLine(ui.Program, "kubeconfig", "--profile", c.profile.Name, "-o", file)
}

// allowing adds this program to kubectl's allowlist, by its own path and no other: a kubeconfig can
// name any, also one that leads here today and elsewhere tomorrow.
func (c *profileChecks) allowing(item Finding, command string) Finding {
	whole, err := host.PluginPath()
	if err != nil || command != whole && command != c.command() {
		return item
	}
	return item.mended(repair{
		what: fmt.Sprintf("add %q to the allowlist of %q", command, c.kuberc),
		do: func(context.Context) error {
			_, err := kuberc.AllowPlugin(c.kuberc, command)
			return err
		},
	})
}

// kubeconfigLocks finds lock files that a killed program has left: kubectl changes none of these
// files as long as they are there.
func (d *doctor) kubeconfigLocks() (items []Finding) {
	for _, path := range d.paths {
		lock := path + ".lock"
		if !d.isStale(lock) {
			continue
		}
		items = append(items, warn(
			"kubeconfig",
			ui.CommandLine("rm", lock),
			"%s is left of a program that was killed, and keeps kubectl from changing %s",
			lock,
			path,
		).with(func(context.Context) error {
			if !d.isStale(lock) {
				return nil
			}
			if err := os.Remove(lock); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}))
	}
	return items
}

// isStale reports whether a lock file is older than whoever changes a file needs.
func (d *doctor) isStale(lock string) bool {
	info, err := os.Lstat(lock)
	return err == nil && info.Mode().IsRegular() && d.host.Now().Sub(info.ModTime()) > staleLock
}
