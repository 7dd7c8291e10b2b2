package kubeconfig

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	yaml "go.yaml.in/yaml/v3"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// Static is a context's user who has nothing but a token.
type Static struct {
	User      string
	File      string // where the user stands
	Token     secret.String
	TokenFile string // empty when the token stands in the kubeconfig; otherwise absolute
}

// StaticToken returns the token of a context. It is an ErrNotStatic when the user authenticates in
// another way or not at all, and an ErrOurs when this program is that way.
func StaticToken(paths []string, context string) (Static, error) {
	config, err := load(paths)
	if err != nil {
		return Static{}, err
	}
	return staticToken(config, context)
}

func staticToken(config *clientcmdapi.Config, context string) (Static, error) {
	found := config.Contexts[context]
	if found == nil {
		return Static{}, fmt.Errorf("%w: %q", ErrNoContext, context)
	}
	user := config.AuthInfos[found.AuthInfo]
	if user == nil {
		return Static{}, fmt.Errorf("%w: %q names user %q, which does not exist",
			ErrReference, context, found.AuthInfo)
	}
	if err := checkStatic(user); err != nil {
		return Static{}, fmt.Errorf("context %q, user %q: %w", context, found.AuthInfo, err)
	}
	static := Static{User: found.AuthInfo, File: user.LocationOfOrigin,
		TokenFile: user.TokenFile}
	static.Token = secret.New(user.Token)
	if user.TokenFile == "" {
		return static, nil
	}
	// Clients prefer the file, too (clientcmd's getUserIdentificationPartialConfig).
	data, err := readRegular(user.TokenFile)
	if err != nil {
		return Static{}, fmt.Errorf("user %q: reading the token file: %w", found.AuthInfo,
			err)
	}
	if static.Token = secret.New(string(bytes.TrimSpace(data))); static.Token.Empty() {
		return Static{}, fmt.Errorf("user %q: %w: its token file is empty", found.AuthInfo,
			ErrNotStatic)
	}
	return static, nil
}

func checkStatic(user *clientcmdapi.AuthInfo) error {
	switch {
	case user.Exec != nil:
		if _, ours := profileOf(user.Exec.Command, user.Exec.Args); ours {
			return ErrOurs
		}
		return fmt.Errorf("%w: it has an exec section", ErrNotStatic)
	case user.AuthProvider != nil:
		return fmt.Errorf("%w: it has an auth-provider", ErrNotStatic)
	case user.ClientCertificate+user.ClientKey != "",
		len(user.ClientCertificateData)+len(user.ClientKeyData) > 0:
		return fmt.Errorf("%w: it has a client certificate", ErrNotStatic)
	case user.Username != "" || user.Password != "":
		return fmt.Errorf("%w: it has a user name and a password", ErrNotStatic)
	case user.Token == "" && user.TokenFile == "":
		return fmt.Errorf("%w: it has no credential at all", ErrNotStatic)
	}
	return nil
}

// Replaced says what ReplaceUser did, and what it left.
type Replaced struct {
	User      string
	File      string   // where the user stands
	TokenFile string   // the user's old token file, which is still there
	Holders   []string // users who still hold the same token, in any of the files
	Clusters  []string // got what some clients need to say where the token goes
	Unfit     []string // clusters that lack that, in a form that is not edited
}

// ReplaceUser turns a context's user with a static token into one with the entry's exec section, in
// place: context, cluster and user keep their names and all other fields, and the token leaves the
// file, its comments too, in one step; the cluster gets what its clients need. Contexts that share
// the user get tokens from then on as well. When one of them leads to another cluster it would stop
// working: that is an ErrShared, and nothing is changed.
func ReplaceUser(paths []string, context string, entry Entry) (Replaced, error) {
	var done Replaced
	source, err := entry.fill()
	if err != nil {
		return done, err
	}
	yamledit.StripComments(source)
	section := execSection(source.Content[0])
	extensions := clusterExtensions(source.Content[0])
	_, err = edit(paths, func(c *configs) error {
		// Read again under the lock: what was proven a moment ago can have changed.
		static, err := checkReplaceable(paths, context, entry)
		if err != nil {
			return err
		}
		done = Replaced{User: static.User, File: static.File, TokenFile: static.TokenFile}
		if err := c.replaceUser(static, section); err != nil {
			return err
		}
		c.completeClusters(&done, entry, extensions)
		done.Holders = c.holders(static.Token)
		return nil
	})
	return done, err
}

// CanReplace is the error that ReplaceUser would give for what the files hold now, for those who
// have more to do before.
func CanReplace(paths []string, context string, entry Entry) error {
	if err := entry.validate(); err != nil {
		return err
	}
	_, err := checkReplaceable(paths, context, entry)
	return err
}

// checkReplaceable checks that every context of the user leads to the entry's cluster.
func checkReplaceable(paths []string, context string, entry Entry) (Static, error) {
	config, err := load(paths)
	if err != nil {
		return Static{}, err
	}
	static, err := staticToken(config, context)
	if err != nil {
		return Static{}, err
	}
	wanted := profile.Cluster{Server: entry.Server, TLSServerName: entry.TLSServerName,
		CertificateAuthorityData: entry.CA}
	for _, name := range slices.Sorted(maps.Keys(config.Contexts)) {
		if config.Contexts[name].AuthInfo != static.User {
			continue
		}
		if err := checkCluster(config, name, wanted); err != nil && name == context {
			return Static{}, fmt.Errorf("context %q: %w", name, err)
		} else if err != nil {
			return Static{}, fmt.Errorf("%w: context %q has user %q, too: %w",
				ErrShared, name, static.User, err)
		}
	}
	return static, nil
}

// checkCluster is nil when a context leads to the wanted cluster, or will once it has its bundle.
func checkCluster(config *clientcmdapi.Config, context string, wanted profile.Cluster) error {
	cluster, err := clusterOf(config, context)
	if err != nil {
		return err
	}
	return wanted.DifferenceWithin(profile.Cluster{Server: cluster.Server,
		TLSServerName:            cluster.TLSServerName,
		CertificateAuthorityData: cluster.CertificateAuthorityData})
}

// replaceUser puts an exec section in the place of a user's token, and removes what comments hold
// of it.
func (c *configs) replaceUser(static Static, section *yaml.Node) error {
	f, item := c.find(users, static.User)
	body := yamledit.At(item, "user")
	if body == nil || body.Kind != yaml.MappingNode || yamledit.Field(body, "<<") != nil {
		return fmt.Errorf("%w: %q: user %q", yamledit.ErrUnsupported, f.Path(), static.User)
	}
	// Clients ignore a token beside a token file; it goes as well.
	tokens := []string{static.Token.Reveal(), yamledit.Text(body, "token")}
	f.Touch(users, static.User)
	yamledit.RemoveField(body, "token")
	yamledit.RemoveField(body, "tokenFile")
	yamledit.SetField(body, "exec", section)
	for _, token := range tokens {
		c.scrub(token)
	}
	return nil
}

// clusterExtensions are those of the template's cluster, without the name of the profile: a cluster
// that has it counts as one that this program created, and this one has been there before.
func clusterExtensions(root *yaml.Node) *yaml.Node {
	list := yamledit.At(yamledit.Items(root, clusters)[0], "cluster", "extensions")
	for _, item := range list.Content {
		extension := yamledit.At(item, "extension")
		yamledit.RemoveField(extension, "profile")
		yamledit.SetField(extension, "kind", yamledit.NewText("Cluster"))
	}
	return list
}

// completeClusters puts into the clusters of a user's contexts what Python's client needs. It hands
// its plugin the cluster as it stands, in which a certificate authority's file would stay one, and
// from 32 on it fails at a cluster without extensions.
func (c *configs) completeClusters(done *Replaced, entry Entry, extensions *yaml.Node) {
	for _, name := range c.clustersOf(done.User) {
		f, item := c.find(clusters, name)
		body := yamledit.Field(item, "cluster")
		switch changed, ok := completeCluster(body, entry.CA, extensions); {
		case !ok:
			done.Unfit = append(done.Unfit, name)
		case changed:
			f.Touch(clusters, name)
			done.Clusters = append(done.Clusters, name)
		}
	}
}

// clustersOf are the clusters of all contexts of a user.
func (c *configs) clustersOf(user string) (names []string) {
	for _, f := range c.files {
		for _, context := range yamledit.Items(f.Root(), contexts) {
			cluster, found := c.references(yamledit.Text(context, "name"))
			if found == user {
				names = appendNew(names, cluster)
			}
		}
	}
	return names
}

// completeCluster changes what a cluster lacks; it is not ok when that cannot be done in place.
func completeCluster(body *yaml.Node, ca []byte, extensions *yaml.Node) (changed, ok bool) {
	if body == nil || body.Kind != yaml.MappingNode || yamledit.Field(body, "<<") != nil {
		return false, false
	}
	list := yamledit.Field(body, "extensions")
	switch {
	case yamledit.IsNull(list):
		yamledit.SetField(body, "extensions", extensions)
		changed = true
	case list.Kind != yaml.SequenceNode:
		return false, false
	case yamledit.Index(list, execExtension) < 0:
		list.Content = append(list.Content, extensions.Content...)
		changed = true
	}
	inline, file := yamledit.Text(body, "certificate-authority-data"),
		yamledit.Text(body, "certificate-authority")
	if inline == "" && file != "" || inline != "" && len(ca) > 0 && !isBundle(inline, ca) {
		yamledit.RemoveField(body, "certificate-authority")
		data := yamledit.NewText(base64.StdEncoding.EncodeToString(ca))
		yamledit.SetField(body, "certificate-authority-data", data)
		changed = true
	}
	return changed, true
}

// isBundle reports whether base64 holds the certificates of a bundle, and no others: one of more
// than clients can hand to a plugin is replaced.
func isBundle(text string, ca []byte) bool {
	data, err := base64.StdEncoding.DecodeString(text)
	wanted := profile.Cluster{Server: "https://x", CertificateAuthorityData: ca}
	return err == nil && wanted.Difference(profile.Cluster{Server: "https://x",
		CertificateAuthorityData: data}) == nil
}

// scrub removes a token from comments, such as a line that somebody has commented out.
func (c *configs) scrub(token string) {
	for _, f := range c.files {
		if token != "" {
			f.Scrub(token)
		}
	}
}

// holders returns the users that have this token written in a file.
func (c *configs) holders(token secret.String) []string {
	var names []string
	for _, f := range c.files {
		for _, user := range yamledit.Items(f.Root(), users) {
			if yamledit.Text(user, "user", "token") == token.Reveal() {
				names = appendNew(names, yamledit.Text(user, "name"))
			}
		}
	}
	return names
}

func appendNew(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}
