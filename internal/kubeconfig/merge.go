package kubeconfig

import (
	"fmt"
	"os"
	"slices"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// The lists of a kubeconfig, and the fields of their items.
const (
	clusters = "clusters"
	users    = "users"
	contexts = "contexts"

	currentContext = "current-context"
)

var itemField = map[string]string{clusters: "cluster", users: "user", contexts: "context"}

// Target is the file that gets new entries, by kubectl's rule: the first that exists, else the last
// (clientcmd.PathOptions.GetDefaultFilename). It is absolute.
func Target(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return yamledit.Absolute(path)
		}
	}
	return yamledit.Absolute(paths[len(paths)-1])
}

// Merge puts the entry into the kubeconfig files. An entry of the same name that is ours, and for
// the same profile, is updated in the file where it stands; one that is not is an ErrForeign. New
// ones go to Target. All else stays.
//
// The current context changes only with useContext, except that a kubeconfig without any context
// gets one: there is nothing that it could be switched away from. changed is false, and nothing is
// written, when all is right already.
//
// A context that the user has given another name keeps it: MergeAs tells which.
func Merge(paths []string, entry Entry, useContext bool) (changed bool, err error) {
	return MergeAs(paths, &entry, useContext)
}

// MergeAs is Merge, and gives the entry the name that its context has in the files.
func MergeAs(paths []string, entry *Entry, useContext bool) (changed bool, err error) {
	return mergeAll(paths, []*Entry{entry}, useContext)
}

// CanMerge is the error that Merge would give for what the files hold now, for those who have
// more to do before.
func CanMerge(paths []string, entry Entry, useContext bool) error {
	return canMerge(paths, []*Entry{&entry}, useContext)
}

func canMerge(paths []string, entries []*Entry, useContext bool) error {
	change, err := merging(entries, useContext)
	if err != nil {
		return err
	}
	target := Target(paths)
	return yamledit.Check(paths, kind, func(files []*yamledit.File) error {
		return change(within(files, target))
	})
}

func mergeAll(paths []string, entries []*Entry, useContext bool) (changed bool, err error) {
	change, err := merging(entries, useContext)
	if err != nil {
		return false, err
	}
	return edit(paths, change)
}

// merging is the edit that puts entries into files.
func merging(entries []*Entry, useContext bool) (change func(*configs) error, err error) {
	sources := make([]*yaml.Node, len(entries))
	for i, entry := range entries {
		if sources[i], err = entry.fill(); err != nil {
			return nil, err
		}
		yamledit.StripComments(sources[i])
	}
	return func(c *configs) error {
		c.index = c.newIndex()
		defer func() { c.index = nil }() // it is kept up by merge alone
		for i, entry := range entries {
			if err := c.merge(entry, sources[i].Content[0], useContext); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// configs is all kubeconfig files together while they are being edited.
type configs struct {
	files  []*yamledit.File
	target *yamledit.File // gets new entries
	index  *index         // nil: names are looked for item by item
}

// edit calls change on the kubeconfig files together, and writes those that it changed.
func edit(paths []string, change func(*configs) error) (changed bool, err error) {
	target := Target(paths)
	if err := yamledit.MakeDir(target); err != nil {
		return false, yamledit.Quoted(err)
	}
	return yamledit.Edit(paths, kind, func(files []*yamledit.File) error {
		return change(within(files, target))
	})
}

func within(files []*yamledit.File, target string) *configs {
	c := &configs{files: files, target: files[0]}
	if i := slices.IndexFunc(files, func(f *yamledit.File) bool { return f.Is(target) }); i > 0 {
		c.target = files[i]
	}
	return c
}

// kind is how kubeconfigs are edited.
var kind = yamledit.Kind{
	Fields: [][2]string{{"apiVersion", "v1"}, {"kind", "Config"}},
	Choose: onlyDocument,
	View:   othersForClients,
}

// onlyDocument refuses a kubeconfig of several documents, of which clients read the first only.
func onlyDocument(path string, data []byte, documents []*yaml.Node) (int, error) {
	if len(documents) != 1 {
		problem := fmt.Sprintf("%q holds %d YAML documents", path, len(documents))
		return 0, fmt.Errorf("%w: %s", yamledit.ErrUnsupported, problem)
	}
	if _, err := clientcmd.Load(data); err != nil ||
		documents[0].Content[0].Kind != yaml.MappingNode {
		return 0, yamledit.Malformed(path, nil, "not a kubeconfig")
	}
	return 0, nil
}

// othersForClients is what clients read, without what was touched.
func othersForClients(data []byte, touched yamledit.Touched) (any, error) {
	if len(data) == 0 {
		data = []byte("{}") // client-go creates other empty maps for no document at all
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, err
	}
	if _, found := touched[currentContext]; found {
		config.CurrentContext = ""
	}
	config.Clusters = without(config.Clusters, touched[clusters])
	config.AuthInfos = without(config.AuthInfos, touched[users])
	config.Contexts = without(config.Contexts, touched[contexts])
	return config, nil
}

func without[T any](all map[string]T, names []string) map[string]T {
	others := map[string]T{}
	keepFirst(others, all)
	for _, name := range names {
		delete(others, name)
	}
	return others
}

func (c *configs) merge(entry *Entry, source *yaml.Node, useContext bool) error {
	fresh := c.isFresh()
	entry.ContextName = c.nameFor(*entry)
	yamledit.SetText(yamledit.Field(yamledit.Items(source, contexts)[0], "name"),
		entry.ContextName)
	if err := c.checkNames(*entry); err != nil {
		return err
	}
	oldCluster, oldUser := c.references(entry.ContextName)
	for _, list := range []string{clusters, users, contexts} {
		if err := c.put(list, yamledit.Field(source, list).Content[0]); err != nil {
			return err
		}
	}
	if oldCluster != entry.ClusterName {
		c.dropSuperseded(clusters, oldCluster, entry.Profile)
	}
	if oldUser != entry.UserName {
		c.dropSuperseded(users, oldUser, entry.Profile)
	}
	c.index.note(entry.Profile, entry.ContextName)
	if useContext || fresh {
		c.use(entry.ContextName)
	}
	return nil
}

// nameFor is the name that the entry's context has already, when the user has renamed it: a second
// one would be one that nobody has asked for. A context that migrate has given the plugin has a
// user with a name of its own, and is none of setup's.
func (c *configs) nameFor(entry Entry) string {
	if _, item := c.find(contexts, entry.ContextName); item != nil {
		return entry.ContextName
	}
	if names := c.index.contexts[entry.Profile]; len(names) > 0 {
		return slices.Min(names)
	}
	return entry.ContextName
}

// checkNames is an ErrForeign when a name of the entry belongs to what was not created for its
// profile.
func (c *configs) checkNames(entry Entry) error {
	switch {
	case !c.isOurs(clusters, entry.ClusterName, entry.Profile):
		return c.foreign(clusters, entry.ClusterName)
	case !c.isOurs(users, entry.UserName, entry.Profile):
		return c.foreign(users, entry.UserName)
	}
	// A context can name our user when that has been deleted.
	_, user := c.references(entry.ContextName)
	if user != entry.UserName && !c.isOurs(contexts, entry.ContextName, entry.Profile) {
		return c.foreign(contexts, entry.ContextName)
	}
	return nil
}

func (c *configs) foreign(list, name string) error {
	f, _ := c.find(list, name)
	return fmt.Errorf("%s %q already exists in %q and was %w",
		itemField[list], name, f.Path(), ErrForeign)
}

// isFresh reports whether there is no context yet.
func (c *configs) isFresh() bool {
	for _, f := range c.files {
		list, current := yamledit.At(f.Root(), contexts), yamledit.At(f.Root(),
			currentContext)
		if list != nil && len(list.Content) > 0 || !yamledit.IsNull(current) &&
			current.Value != "" {
			return false
		}
	}
	return true
}

// find returns the file and the item that clients use for a name: the first of all files wins.
func (c *configs) find(list, name string) (*yamledit.File, *yaml.Node) {
	if c.index != nil {
		p := c.index.items[list][name]
		return p.file, p.item
	}
	for _, f := range c.files {
		items := yamledit.At(f.Root(), list)
		if i := yamledit.Index(items, name); i >= 0 {
			return f, yamledit.Deref(items.Content[i])
		}
	}
	return nil, nil
}

// body is the part of an item below its name.
func (c *configs) body(list, name string) *yaml.Node {
	_, item := c.find(list, name)
	return yamledit.At(item, itemField[list])
}

// references returns the names of a context's cluster and user.
func (c *configs) references(context string) (cluster, user string) {
	body := c.body(contexts, context)
	return yamledit.Text(body, "cluster"), yamledit.Text(body, "user")
}

// isOurs reports whether a name is free, or that of an entry that this program created for the
// profile.
func (c *configs) isOurs(list, name, profile string) bool {
	_, item := c.find(list, name)
	if item == nil {
		return true
	}
	switch list {
	case clusters:
		return profileOfCluster(c.body(clusters, name)) == profile
	case users:
		return profileOfUser(c.body(users, name)) == profile
	}
	_, user := c.references(name)
	return profileOfUser(c.body(users, user)) == profile
}

// profileOfCluster reads our extension.
func profileOfCluster(cluster *yaml.Node) string {
	list := yamledit.At(cluster, "extensions")
	i := yamledit.Index(list, execExtension)
	if i < 0 {
		return ""
	}
	extension := yamledit.At(list.Content[i], "extension")
	if yamledit.Text(extension, "apiVersion") != binary+"/v1" {
		return ""
	}
	return yamledit.Text(extension, "profile")
}

func profileOfUser(user *yaml.Node) string {
	var args []string
	for _, arg := range yamledit.Items(user, "exec", "args") {
		args = append(args, yamledit.Text(arg))
	}
	profile, ours := profileOf(yamledit.Text(user, "exec", "command"), args)
	if !ours {
		return ""
	}
	return profile
}

// put adds an item, or updates the one of its name in the file where it stands.
func (c *configs) put(list string, item *yaml.Node) error {
	name := yamledit.Text(item, "name")
	f, old := c.find(list, name)
	if old == nil {
		c.target.Touch(list, name)
		c.index.items[list][name] = part{c.target, list, item}
		return c.target.Append(list, item)
	}
	f.Touch(list, name)
	body := yamledit.Field(old, itemField[list])
	if body == nil || body.Kind != yaml.MappingNode {
		return fmt.Errorf("%w: %q: %s %q", yamledit.ErrUnsupported, f.Path(),
			itemField[list], name)
	}
	wanted := yamledit.Field(item, itemField[list])
	for _, gone := range replacedFields {
		if yamledit.Field(wanted, gone) == nil {
			yamledit.RemoveField(body, gone)
		}
	}
	yamledit.Overlay(body, wanted)
	return nil
}

// replacedFields are removed from an entry of ours that does not set them: with them clients would
// treat the cluster differently than the profile says.
var replacedFields = []string{"tls-server-name", "proxy-url", "certificate-authority",
	"certificate-authority-data", "insecure-skip-tls-verify", "namespace"}

// dropSuperseded removes a cluster or user of ours that no context names any more: its name changes
// with the cluster's identity.
func (c *configs) dropSuperseded(list, name, profile string) {
	f, item := c.find(list, name)
	if item == nil || !c.isOurs(list, name, profile) || c.isReferenced(list, name) {
		return
	}
	if items := yamledit.Field(f.Root(), list); items.Kind == yaml.SequenceNode {
		i := yamledit.Index(items, name)
		items.Content = slices.Delete(items.Content, i, i+1)
		f.Touch(list, name)
		c.index.items[list] = c.itemsByName(list)
	}
}

func (c *configs) isReferenced(list, name string) bool {
	for _, f := range c.files {
		for _, context := range yamledit.Items(f.Root(), contexts) {
			if yamledit.Text(context, "context", itemField[list]) == name {
				return true
			}
		}
	}
	return false
}

// use makes a context the current one as kubectl does, in the first file that exists.
func (c *configs) use(context string) {
	if yamledit.Text(c.target.Root(), currentContext) != context {
		c.target.Touch(currentContext)
		yamledit.SetField(c.target.Root(), currentContext, yamledit.NewText(context))
	}
}
