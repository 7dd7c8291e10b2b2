package kubeconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// The lists of a kubeconfig, and the fields of their items.
const (
	clusters = "clusters"
	users    = "users"
	contexts = "contexts"
)

var itemField = map[string]string{clusters: "cluster", users: "user", contexts: "context"}

// Paths returns the kubeconfig files, absolute, in the order in which kubectl reads them: the one that
// was named, else those of KUBECONFIG, else the one in the home directory. Empty and repeated elements
// of KUBECONFIG do not count.
func Paths(explicit, list, home string) []string {
	if explicit != "" {
		return []string{yamledit.Absolute(explicit)}
	}
	var paths []string
	for _, path := range filepath.SplitList(list) {
		if path != "" {
			paths = yamledit.AppendNew(paths, yamledit.Absolute(path))
		}
	}
	if len(paths) == 0 {
		paths = []string{filepath.Join(home, ".kube", "config")}
	}
	return paths
}

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

// Merge puts the entry into the kubeconfig files. An entry of the same name that is ours, and for the same profile, is
// brought up to date in the file where it stands; one that is not is an ErrForeign. New ones go to Target. All else
// stays.
//
// The current context changes only with useContext, except that a kubeconfig without any context gets one: there is
// nothing that it could be switched away from. changed is false, and nothing is written, when all is right already.
func Merge(paths []string, entry Entry, useContext bool) (changed bool, err error) {
	return mergeAll(paths, []Entry{entry}, useContext)
}

func mergeAll(paths []string, entries []Entry, useContext bool) (changed bool, err error) {
	sources := make([]*yaml.Node, len(entries))
	for i, entry := range entries {
		if sources[i], err = entry.fill(Keyring); err != nil {
			return false, err
		}
		yamledit.StripComments(sources[i])
	}
	return edit(paths, func(c *configs) error {
		for i, entry := range entries {
			if err := c.merge(entry, sources[i].Content[0], useContext); err != nil {
				return err
			}
		}
		return nil
	})
}

// configs is all kubeconfig files together while they are being edited.
type configs struct {
	files  []*yamledit.File
	target *yamledit.File
	ours   names // what may differ afterwards
}

// names are entries, by list.
type names map[string][]string

func (n names) add(list, name string) { n[list] = yamledit.AppendNew(n[list], name) }

// edit locks the files, reads them, lets change loose on them and writes those that mean something else afterwards. No
// file is written unless all of them can be.
func edit(paths []string, change func(*configs) error) (changed bool, err error) {
	defer func() { err = yamledit.Quoted(err) }()
	resolved, err := yamledit.ResolveAll(paths)
	if err != nil {
		return false, err
	}
	target, err := yamledit.Resolve(Target(paths))
	if err != nil {
		return false, err
	}
	if err := yamledit.MakeFolder(target); err != nil {
		return false, err
	}
	release, err := yamledit.LockAll(paths, resolved)
	if err != nil {
		return false, err
	}
	defer release()
	c, err := openConfigs(resolved, target)
	if err != nil {
		return false, err
	}
	if err := change(c); err != nil {
		return false, err
	}
	return c.write()
}

func openConfigs(paths []string, target string) (*configs, error) {
	c := &configs{ours: names{}}
	for _, path := range paths {
		f, err := yamledit.Open(path, [][2]string{{"apiVersion", "v1"}, {"kind", "Config"}}, onlyDocument)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
		if c.target == nil || yamledit.IsSame(path, target) {
			c.target = f
		}
	}
	return c, nil
}

// onlyDocument refuses a kubeconfig of several documents, of which clients read the first only.
func onlyDocument(path string, data []byte, documents []*yaml.Node) (int, error) {
	if len(documents) != 1 {
		return 0, fmt.Errorf("%w: %q holds %d YAML documents", yamledit.ErrUnsupported, path, len(documents))
	}
	if _, err := clientcmd.Load(data); err != nil || documents[0].Content[0].Kind != yaml.MappingNode {
		return 0, yamledit.Malformed(path, nil, "not a kubeconfig")
	}
	return 0, nil
}

// write proves that each changed file is right, and only then replaces them.
func (c *configs) write() (changed bool, err error) {
	encoded := map[*yamledit.File][]byte{}
	for _, f := range c.files {
		if !f.Changed() {
			continue
		}
		if encoded[f], err = f.Encode(); err != nil {
			return false, err
		}
		if err := c.prove(f, encoded[f]); err != nil {
			return false, err
		}
	}
	for _, f := range c.files {
		if data, found := encoded[f]; found {
			if err := f.Write(data); err != nil {
				return false, err
			}
		}
	}
	return len(encoded) > 0, nil
}

// prove compares what clients read before and after. Anchors, for example, can make one edit change two places.
func (c *configs) prove(f *yamledit.File, data []byte) error {
	old, err := yamledit.ReadFile(f.Path)
	if err != nil {
		return err
	}
	if len(old) == 0 {
		old = []byte("{}") // client-go makes other empty maps of no document at all
	}
	before, errBefore := clientcmd.Load(old)
	after, errAfter := clientcmd.Load(data)
	documents, errParse := yamledit.Parse(f.Path, data)
	if errBefore != nil || errAfter != nil || errParse != nil {
		return fmt.Errorf("%w: %q", yamledit.ErrUnsupported, f.Path)
	}
	afterValue, err := yamledit.ValueOf(documents[0])
	if err != nil {
		return fmt.Errorf("%w: %q", yamledit.ErrUnsupported, f.Path)
	}
	beforeValue := f.Before.([]any)[0]
	if !reflect.DeepEqual(c.others(before), c.others(after)) ||
		!reflect.DeepEqual(c.otherFields(beforeValue), c.otherFields(afterValue)) {
		return fmt.Errorf("%w: %q", yamledit.ErrUnsupported, f.Path)
	}
	return nil
}

// others is a configuration without what may differ.
func (c *configs) others(config *clientcmdapi.Config) *clientcmdapi.Config {
	config.CurrentContext = ""
	config.Clusters = without(config.Clusters, c.ours[clusters])
	config.AuthInfos = without(config.AuthInfos, c.ours[users])
	config.Contexts = without(config.Contexts, c.ours[contexts])
	return config
}

func without[T any](all map[string]T, names []string) map[string]T {
	others := map[string]T{}
	keepFirst(others, all)
	for _, name := range names {
		delete(others, name)
	}
	return others
}

// otherFields is the same for all fields of the file, in their lists' order, known to clients or not.
func (c *configs) otherFields(value any) map[string]any {
	others := map[string]any{}
	for key, field := range asMap(value) {
		name := fmt.Sprint(key)
		if itemField[name] == "" {
			others[name] = field
		} else if items := c.otherItems(name, field); len(items) > 0 { // none, null and [] are the same
			others[name] = items
		}
	}
	delete(others, "current-context")
	return others
}

func (c *configs) otherItems(list string, value any) []any {
	items, _ := value.([]any)
	return slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		name, isText := asMap(item)["name"].(string)
		return isText && slices.Contains(c.ours[list], name)
	})
}

// asMap covers both types that the YAML library decodes mappings to.
func asMap(value any) map[any]any {
	switch mapping := value.(type) {
	case map[string]any:
		converted := map[any]any{}
		for key, value := range mapping {
			converted[key] = value
		}
		return converted
	case map[any]any:
		return mapping
	}
	return nil
}

func (c *configs) merge(entry Entry, source *yaml.Node, useContext bool) error {
	fresh := c.isFresh()
	if err := c.checkNames(entry); err != nil {
		return err
	}
	oldCluster, oldUser := c.references(entry.ContextName)
	for _, list := range []string{clusters, users, contexts} {
		if err := c.put(list, yamledit.Field(source, list).Content[0]); err != nil {
			return err
		}
	}
	c.dropSuperseded(clusters, oldCluster, entry.Profile)
	c.dropSuperseded(users, oldUser, entry.Profile)
	if useContext || fresh {
		c.use(entry.ContextName)
	}
	return nil
}

// checkNames is an ErrForeign when a name of the entry is taken by one that this program did not make for the profile.
func (c *configs) checkNames(entry Entry) error {
	switch {
	case !c.isOurs(clusters, entry.ClusterName, entry.Profile):
		return fmt.Errorf("%w: there is another cluster %q", ErrForeign, entry.ClusterName)
	case !c.isOurs(users, entry.UserName, entry.Profile):
		return fmt.Errorf("%w: there is another user %q", ErrForeign, entry.UserName)
	}
	// A context may name our user when that has been deleted.
	_, user := c.references(entry.ContextName)
	if user != entry.UserName && !c.isOurs(contexts, entry.ContextName, entry.Profile) {
		return fmt.Errorf("%w: there is another context %q", ErrForeign, entry.ContextName)
	}
	return nil
}

// isFresh holds for kubeconfigs without any context.
func (c *configs) isFresh() bool {
	for _, f := range c.files {
		list := yamledit.Deref(yamledit.Field(f.Root(), contexts))
		current := yamledit.Deref(yamledit.Field(f.Root(), "current-context"))
		if list != nil && len(list.Content) > 0 || !yamledit.IsNull(current) && current.Value != "" {
			return false
		}
	}
	return true
}

// find returns the file and the item that clients use for a name: the first of all files wins.
func (c *configs) find(list, name string) (*yamledit.File, *yaml.Node) {
	for _, f := range c.files {
		items := yamledit.Deref(yamledit.Field(f.Root(), list))
		if i := yamledit.Index(items, name); i >= 0 {
			return f, yamledit.Deref(items.Content[i])
		}
	}
	return nil, nil
}

// body is the part of an item below its name.
func (c *configs) body(list, name string) *yaml.Node {
	_, item := c.find(list, name)
	return yamledit.Deref(yamledit.Field(item, itemField[list]))
}

// references returns the names of a context's cluster and user.
func (c *configs) references(context string) (cluster, user string) {
	body := c.body(contexts, context)
	return yamledit.Text(yamledit.Field(body, "cluster")), yamledit.Text(yamledit.Field(body, "user"))
}

// isOurs reports whether a name is free, or that of an entry that this program made for the profile.
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
	list := yamledit.Deref(yamledit.Field(cluster, "extensions"))
	i := yamledit.Index(list, execExtension)
	if i < 0 {
		return ""
	}
	extension := yamledit.Deref(yamledit.Field(yamledit.Deref(list.Content[i]), "extension"))
	if yamledit.Text(yamledit.Field(extension, "apiVersion")) != binary+"/v1" {
		return ""
	}
	return yamledit.Text(yamledit.Field(extension, "profile"))
}

func profileOfUser(user *yaml.Node) string {
	section := yamledit.Deref(yamledit.Field(user, "exec"))
	var args []string
	if list := yamledit.Deref(yamledit.Field(section, "args")); list != nil && list.Kind == yaml.SequenceNode {
		for _, arg := range list.Content {
			args = append(args, yamledit.Text(arg))
		}
	}
	profile, ours := profileOf(yamledit.Text(yamledit.Field(section, "command")), args)
	if !ours {
		return ""
	}
	return profile
}

// put adds an item, or brings the one of its name up to date in the file where it stands.
func (c *configs) put(list string, item *yaml.Node) error {
	name := yamledit.Field(item, "name").Value
	c.ours.add(list, name)
	f, old := c.find(list, name)
	if old == nil {
		return c.target.Add(list, item)
	}
	body := yamledit.Field(old, itemField[list])
	if body == nil || body.Kind != yaml.MappingNode {
		return fmt.Errorf("%w: %q: %s %q", yamledit.ErrUnsupported, f.Path, itemField[list], name)
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

// replacedFields are those that an entry of ours may not keep when it does not set them: clients would do something
// else with the cluster than the profile says.
var replacedFields = []string{"tls-server-name", "proxy-url", "certificate-authority", "certificate-authority-data",
	"insecure-skip-tls-verify", "namespace"}

// dropSuperseded removes a cluster or user of ours that no context names any more: its name changes with the cluster's
// identity.
func (c *configs) dropSuperseded(list, name, profile string) {
	f, item := c.find(list, name)
	if item == nil || !c.isOurs(list, name, profile) || c.isReferenced(list, name) {
		return
	}
	items := yamledit.Field(f.Root(), list)
	if items.Kind == yaml.SequenceNode {
		i := yamledit.Index(items, name)
		items.Content = slices.Delete(items.Content, i, i+1)
		c.ours.add(list, name)
	}
}

func (c *configs) isReferenced(list, name string) bool {
	for _, f := range c.files {
		for _, item := range yamledit.Items(yamledit.Field(f.Root(), contexts)) {
			if yamledit.Text(yamledit.Field(yamledit.Deref(yamledit.Field(yamledit.Deref(item), "context")), itemField[list])) == name {
				return true
			}
		}
	}
	return false
}

// use makes a context the current one as kubectl does, in the first file that exists.
func (c *configs) use(context string) {
	if yamledit.Text(yamledit.Field(c.target.Root(), "current-context")) != context {
		yamledit.SetField(c.target.Root(), "current-context", yamledit.NewText(context))
	}
}
