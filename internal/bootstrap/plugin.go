package bootstrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/pkg/apis/clientauthentication"
	"k8s.io/client-go/pkg/apis/clientauthentication/install"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// maxExecCredential bounds what a plugin prints, in bytes: a token, a certificate chain and its
// key.
const maxExecCredential = 1 << 20

// needsPlugin reports whether the context's user authenticates with an exec plugin: client-go runs
// none for a user who has anything else.
func needsPlugin(config *rest.Config) bool {
	hasToken := config.BearerToken != "" || config.BearerTokenFile != ""
	hasCertificate := len(config.CertData) > 0 && len(config.KeyData) > 0
	return config.ExecProvider != nil && !hasToken && !hasCertificate && config.Username == ""
}

// fromPlugin returns config with what its exec plugin printed in place of the plugin. client-go
// would hand the plugin the environment, the terminal and the standard error of this process; here
// it gets the profile's environment, and nobody to ask.
func fromPlugin(ctx context.Context, config *rest.Config, b profile.Bootstrap,
	within string) (*rest.Config, error) {
	codec, err := newPluginCodec(config.ExecProvider.APIVersion)
	if err != nil {
		return nil, unusable(b, err)
	}
	plugin, err := pluginOf(config, codec, b, within)
	if err != nil {
		return nil, unusable(b, err)
	}
	output, err := plugin.run(ctx)
	if err != nil {
		return nil, unusable(b, err)
	}
	status, err := codec.decode(output)
	if err != nil {
		return nil, unusable(b, fmt.Errorf("the output of %q %w", plugin.path, err))
	}
	where := fmt.Sprintf("context %q: the status.token of %q", b.Context, plugin.path)
	return withStatus(config, status, where)
}

// pluginOf is the program that the context's user names. Variables of the user come after those of
// the profile, and neither decides what the program is told of its caller.
func pluginOf(config *rest.Config, codec pluginCodec, b profile.Bootstrap,
	within string) (program, error) {
	section := config.ExecProvider
	path, err := lookPath(section.Command, b.Environment["PATH"])
	if err != nil {
		return program{}, fmt.Errorf("there is no program %q", section.Command)
	}
	info, err := codec.encodeInfo(config)
	if err != nil {
		return program{}, errors.New("its cluster cannot be described to the plugin")
	}
	env := Environment(b)
	for _, variable := range section.Env {
		env = append(env, variable.Name+"="+variable.Value)
	}
	return program{path: path, args: section.Args, limit: maxExecCredential,
		env: append(env, within, execcred.EnvironmentVariable+"="+info)}, nil
}

// lookPath is exec.LookPath with the PATH of the profile instead of this process's own. Directories
// in it that are not absolute are passed over.
func lookPath(name, path string) (string, error) {
	if filepath.Base(name) != name {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", exec.ErrNotFound
}

// pluginCodec speaks one version of client.authentication.k8s.io, from the client's side.
type pluginCodec struct {
	serializer.CodecFactory
	version schema.GroupVersion
}

func newPluginCodec(apiVersion string) (pluginCodec, error) {
	if apiVersion != execcred.V1 && apiVersion != execcred.V1Beta1 {
		return pluginCodec{}, fmt.Errorf("its plugin has the unknown apiVersion %q",
			apiVersion)
	}
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return pluginCodec{}, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return pluginCodec{serializer.NewCodecFactory(scheme), version}, nil
}

// encodeInfo is what the plugin is told: that it cannot ask anybody, and which cluster it is for.
func (c pluginCodec) encodeInfo(config *rest.Config) (string, error) {
	info := &clientauthentication.ExecCredential{}
	if config.ExecProvider.ProvideClusterInfo {
		cluster, err := rest.ConfigToExecCluster(config)
		if err != nil {
			return "", err
		}
		info.Spec.Cluster = cluster
	}
	encoded, err := runtime.Encode(c.LegacyCodec(c.version), info)
	return string(encoded), err
}

// decode reads the plugin's answer. Its errors end a sentence about the output, and quote nothing
// of it.
func (c pluginCodec) decode(output string) (*clientauthentication.ExecCredentialStatus, error) {
	answer := &clientauthentication.ExecCredential{}
	_, found, err := c.UniversalDecoder(c.version).Decode([]byte(output), nil, answer)
	switch {
	case err != nil:
		return nil, errors.New("is no ExecCredential")
	case found.GroupVersion() != c.version:
		return nil, fmt.Errorf("is not of apiVersion %q", c.version)
	case answer.Status == nil:
		return nil, errors.New("holds no status")
	}
	certificate, key := answer.Status.ClientCertificateData, answer.Status.ClientKeyData
	if certificate == "" && key == "" {
		if answer.Status.Token == "" {
			return nil, errors.New("holds no credential")
		}
		return answer.Status, nil
	}
	// The error of X509KeyPair may quote the block that it could not read.
	if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err != nil {
		return nil, errors.New("holds no client certificate with its key")
	}
	return answer.Status, nil
}

// withStatus is config with the credential of an answer; where names its token.
func withStatus(config *rest.Config, status *clientauthentication.ExecCredentialStatus,
	where string) (*rest.Config, error) {
	found := rest.CopyConfig(config)
	found.ExecProvider = nil
	if status.Token != "" {
		token, err := clean(status.Token, where)
		if err != nil {
			return nil, err
		}
		found.BearerToken = token.Reveal()
	}
	found.CertData, found.KeyData = []byte(status.ClientCertificateData),
		[]byte(status.ClientKeyData)
	return found, nil
}
