package kubeconfig

import (
	"os"
	"slices"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// Forgotten is what a file holds, or has held, of a profile.
type Forgotten struct {
	File                      string
	Contexts, Users, Clusters []string
	Current                   bool // one of the contexts is the current one
	// why it was not taken out; the lists may be incomplete then
	Err error
}

func (f Forgotten) isEmpty() bool {
	return len(f.Contexts)+len(f.Users)+len(f.Clusters) == 0 && f.Err == nil
}

// CanForget says what Forget would take out of the files as they are now.
func CanForget(paths []string, profile string) []Forgotten {
	c, failed := readable(paths)
	return append(failed, c.forgotten(c.ofProfile(profile))...)
}

// Forget takes out of the files the users that run this program for a profile, their contexts, and
// the clusters that were created for it and that no other context names. A current context that was
// one of them becomes none. All else stays as it is, byte by byte where the file's layout allows. A
// file of which that fails does not keep the others from it; files that do not exist hold nothing.
func Forget(paths []string, profile string) []Forgotten {
	c, failed := readable(paths)
	paths = nil
	for _, f := range c.files {
		paths = append(paths, f.Path())
	}
	done, err := forget(paths, profile)
	if err == nil {
		return append(failed, done...)
	}
	for _, path := range paths {
		done, err := forget([]string{path}, profile)
		if err != nil {
			alone, _ := readable([]string{path})
			if done = alone.forgotten(alone.ofProfile(profile)); len(done) == 0 {
				continue // there is nothing to be taken out
			}
			done[0].Err = err
		}
		failed = append(failed, done...)
	}
	return failed
}

// notFiles hold nothing that could be taken out: KUBECONFIG can name /dev/null, or a pipe that has
// been read.
const notFiles = os.ModeNamedPipe | os.ModeDevice | os.ModeCharDevice | os.ModeSocket

// readable opens the files that exist and can be read.
func readable(paths []string) (c *configs, failed []Forgotten) {
	c = &configs{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if os.IsNotExist(err) || err == nil && info.Mode()&notFiles != 0 {
			continue
		}
		f, err := yamledit.Open(path, kind)
		if err != nil {
			failed = append(failed, Forgotten{File: path, Err: err})
			continue
		}
		c.files = append(c.files, f)
	}
	return c, failed
}

func forget(paths []string, profile string) (done []Forgotten, err error) {
	_, err = yamledit.Edit(paths, kind, func(files []*yamledit.File) error {
		c := &configs{files: files}
		parts := c.ofProfile(profile)
		done = c.forgotten(parts)
		return c.take(parts)
	})
	return done, err
}

// part is one item of a file.
type part struct {
	file *yamledit.File
	list string
	item *yaml.Node
}

func (p part) name() string { return yamledit.Text(p.item, "name") }

// ofProfile finds all that there is of a profile.
func (c *configs) ofProfile(profile string) (parts []part) {
	var contextsLeft []part
	for _, p := range c.all(contexts) {
		if c.isContextOf(p.item, profile) {
			parts = append(parts, p)
		} else {
			contextsLeft = append(contextsLeft, p)
		}
	}
	for _, p := range c.all(users) {
		if profileOfUser(yamledit.At(p.item, "user")) == profile {
			parts = append(parts, p)
		}
	}
	for _, p := range c.all(clusters) {
		isNamed := slices.ContainsFunc(contextsLeft, func(context part) bool {
			return yamledit.Text(context.item, "context", "cluster") == p.name()
		})
		if profileOfCluster(yamledit.At(p.item, "cluster")) == profile && !isNamed {
			parts = append(parts, p)
		}
	}
	return parts
}

func (c *configs) all(list string) (parts []part) {
	for _, f := range c.files {
		for _, item := range yamledit.Items(f.Root(), list) {
			parts = append(parts, part{f, list, item})
		}
	}
	return parts
}

// isContextOf holds for a context that gets the profile's tokens, or would if its user were still
// there.
func (c *configs) isContextOf(context *yaml.Node, profile string) bool {
	cluster, user := yamledit.Text(context, "context", "cluster"), yamledit.Text(context,
		"context", "user")
	if _, found := c.find(users, user); found != nil {
		return profileOfUser(c.body(users, user)) == profile
	}
	return profileOfCluster(c.body(clusters, cluster)) == profile
}

// forgotten sums up the parts by file.
func (c *configs) forgotten(parts []part) (all []Forgotten) {
	for _, f := range c.files {
		of := Forgotten{File: f.Path(), Current: c.isCurrentAmong(f, parts)}
		lists := map[string]*[]string{contexts: &of.Contexts, users: &of.Users,
			clusters: &of.Clusters}
		for _, p := range parts {
			if p.file == f {
				*lists[p.list] = append(*lists[p.list], p.name())
			}
		}
		if of.Current || !of.isEmpty() {
			all = append(all, of)
		}
	}
	return all
}

// isCurrentAmong reports whether a file's current context is one of the parts, and no other of its
// name will be left.
func (c *configs) isCurrentAmong(f *yamledit.File, parts []part) bool {
	current := yamledit.Text(f.Root(), currentContext)
	is := func(p part) bool { return p.list == contexts && p.name() == current }
	count := len(slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return !is(p) }))
	return count > 0 && count == len(slices.DeleteFunc(c.all(contexts),
		func(p part) bool { return !is(p) }))
}

// take takes the parts out of their files.
func (c *configs) take(parts []part) error {
	for _, f := range c.files {
		if c.isCurrentAmong(f, parts) {
			f.Touch(currentContext)
			yamledit.SetText(yamledit.Field(f.Root(), currentContext), "")
		}
	}
	for _, p := range parts {
		p.file.Touch(p.list, p.name())
		if err := p.file.RemoveItem(p.list, p.item); err != nil {
			return err
		}
	}
	return nil
}
