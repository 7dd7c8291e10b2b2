package kubeconfig

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// Context is one context and what it leads to.
type Context struct {
	Name        string
	File        string // where the context stands
	ClusterName string
	User        string
	Namespace   string
	Cluster     profile.Cluster // the CA bundle is in it, also when the kubeconfig names a file

	all *clientcmdapi.Config // what it was found in
}

// PluginContext is one context whose user runs this program.
type PluginContext struct {
	File         string // where the context stands
	Context      string
	Cluster      profile.Cluster
	ClusterError error // why the cluster gets no tokens; Cluster is then empty
	ClusterName  string
	ClusterFile  string // where the cluster stands
	// absolute; empty: its certificate authority stands in the kubeconfig
	CAFile  string
	User    string
	Profile string // empty: the cluster decides, and its extension
	// Extension is what the cluster says to plugins, in JSON. Empty: nothing.
	Extension []byte
	// relative paths are resolved as clients do; a bare name stays one
	Command            string
	Args               []string
	Environment        []string // names of the variables that the kubeconfig sets
	APIVersion         string
	InteractiveMode    string
	ProvideClusterInfo bool
}

// load reads the files as clients do: the first entry of a name wins, relative paths are resolved
// against their file, missing files do not count.
func load(paths []string) (*clientcmdapi.Config, error) {
	merged := clientcmdapi.NewConfig()
	for _, path := range paths {
		config, err := loadOne(path)
		if err != nil {
			return nil, err
		}
		keepFirst(merged.Clusters, config.Clusters)
		keepFirst(merged.AuthInfos, config.AuthInfos)
		keepFirst(merged.Contexts, config.Contexts)
		if merged.CurrentContext == "" {
			merged.CurrentContext = config.CurrentContext
		}
	}
	return merged, nil
}

func keepFirst[T any](all, more map[string]T) {
	for name, item := range more {
		if _, found := all[name]; !found {
			all[name] = item
		}
	}
}

// loadOne does not use clientcmd.LoadFromFile, because its errors quote the file.
func loadOne(path string) (*clientcmdapi.Config, error) {
	data, err := yamledit.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		if _, err := yamledit.Parse(path, data); err != nil {
			return nil, err
		}
		return nil, yamledit.Malformed(path, nil, "not a kubeconfig")
	}
	setOrigin(config, yamledit.Absolute(path))
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, yamledit.Malformed(path, nil, "a path in it cannot be resolved")
	}
	return config, nil
}

func setOrigin(config *clientcmdapi.Config, path string) {
	for _, cluster := range config.Clusters {
		cluster.LocationOfOrigin = path
	}
	for _, user := range config.AuthInfos {
		user.LocationOfOrigin = path
	}
	for _, context := range config.Contexts {
		context.LocationOfOrigin = path
	}
}

// Contexts returns the names of the contexts, sorted: those that one of the patterns matches, or
// all without a pattern. A pattern is a name, or a glob (path.Match) whose * and ? also match "/",
// because the names of EKS contexts hold it. One that matches nothing is an ErrNoContext, one that
// is no glob a path.ErrBadPattern.
func Contexts(paths []string, patterns ...string) ([]string, error) {
	config, err := load(paths)
	if err != nil {
		return nil, err
	}
	if len(patterns) == 0 {
		// not those of "*", which can be a name
		return slices.Sorted(maps.Keys(config.Contexts)), nil
	}
	var names []string
	for _, pattern := range patterns {
		matched, err := matching(config.Contexts, pattern)
		if err != nil {
			return nil, err
		}
		names = append(names, matched...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func matching(all map[string]*clientcmdapi.Context, pattern string) ([]string, error) {
	if _, found := all[pattern]; found {
		return []string{pattern}, nil
	}
	var names []string
	for name := range all {
		// path.Match treats "/" alone as special; no name that a person wrote holds NUL.
		unslash := strings.NewReplacer("/", "\x00").Replace
		matched, err := path.Match(unslash(pattern), unslash(name))
		if err != nil {
			return nil, fmt.Errorf("context %q: %w", pattern, err)
		}
		if matched {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrNoContext, pattern)
	}
	return names, nil
}

func clusterOf(config *clientcmdapi.Config, context string) (profile.Cluster, error) {
	name := config.Contexts[context].Cluster
	cluster := config.Clusters[name]
	switch {
	case cluster == nil:
		return profile.Cluster{}, fmt.Errorf("%w: %q names cluster %q, which does not "+
			"exist",
			ErrReference, context, name)
	case cluster.InsecureSkipTLSVerify:
		return profile.Cluster{}, fmt.Errorf("%w: cluster %q of %q has "+
			"insecure-skip-tls-verify",
			ErrInsecure, name, context)
	}
	ca, err := caOf(cluster)
	if err != nil {
		return profile.Cluster{}, fmt.Errorf("cluster %q: %w", name, err)
	}
	if _, err := profile.IdentityOf(cluster.Server, cluster.TLSServerName, ca); err != nil {
		return profile.Cluster{}, fmt.Errorf("cluster %q: %w", name, err)
	}
	return profile.Cluster{Server: cluster.Server, TLSServerName: cluster.TLSServerName,
		CertificateAuthorityData: ca, ProxyURL: cluster.ProxyURL}, nil
}

// caOf returns the bundle itself; like clients it takes the inline one first.
func caOf(cluster *clientcmdapi.Cluster) ([]byte, error) {
	if len(cluster.CertificateAuthorityData) > 0 || cluster.CertificateAuthority == "" {
		return cluster.CertificateAuthorityData, nil
	}
	data, err := readRegular(cluster.CertificateAuthority)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	return data, nil
}

// readRegular reads a file that a kubeconfig names. A pipe or a device would block or never end.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, yamledit.Quoted(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", fs.ErrInvalid, path)
	}
	data, err := yamledit.ReadFile(path)
	if data == nil && err == nil {
		err = fmt.Errorf("%w: %q", fs.ErrNotExist, path)
	}
	return data, err
}

func pluginContext(config *clientcmdapi.Config, name, profile string) PluginContext {
	context := config.Contexts[name]
	section := config.AuthInfos[context.AuthInfo].Exec
	cluster, err := clusterOf(config, name)
	found := PluginContext{
		File: context.LocationOfOrigin, Context: name, Cluster: cluster, ClusterError: err,
		User: context.AuthInfo, Profile: profile, Command: section.Command,
		Args:       section.Args,
		APIVersion: section.APIVersion, InteractiveMode: string(section.InteractiveMode),
		ProvideClusterInfo: section.ProvideClusterInfo, ClusterName: context.Cluster,
	}
	if cluster := config.Clusters[context.Cluster]; cluster != nil {
		found.ClusterFile = cluster.LocationOfOrigin
		if unknown, is := cluster.Extensions[execExtension].(*runtime.Unknown); is {
			found.Extension = unknown.Raw
		}
		if len(cluster.CertificateAuthorityData) == 0 { // which goes before a file
			found.CAFile = cluster.CertificateAuthority
		}
	}
	for _, variable := range section.Env {
		found.Environment = append(found.Environment, variable.Name)
	}
	return found
}

// profileOf reads an exec section. It is ours when the command is called like this program, or when
// its arguments are those that setup writes, for those who gave the binary another name.
func profileOf(command string, args []string) (profile string, ours bool) {
	name := command[strings.LastIndexAny(command, `/\`)+1:]
	name = strings.TrimSuffix(strings.ToLower(name), ".exe")
	isGet := len(args) > 0 && args[0] == "get"
	for i, arg := range args {
		if value, found := strings.CutPrefix(arg, "--profile="); found {
			profile = value
		}
		if arg == "--profile" && i+1 < len(args) {
			profile = args[i+1]
		}
	}
	return profile, name == binary || name == quick || isGet && profile != ""
}
