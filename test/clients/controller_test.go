//go:build linux

package clients_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clientcmdlatest "k8s.io/client-go/tools/clientcmd/api/latest"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
)

// A controller knows one command, by its own configuration, and many clusters, by what others have
// written: ClusterProfiles or Argo CD's Secrets. What follows is what becomes of both in such
// controllers, up to the requests.

// provider is a line of the file that a controller is given as --clusterprofile-provider-file
// (KEP-5339; sigs.k8s.io/cluster-inventory-api v0.1.2, pkg/access).
type provider struct {
	Name       string                   `json:"name"`
	ExecConfig *clientcmdapi.ExecConfig `json:"execConfig"`
}

// clusterProfile is the part of multicluster.x-k8s.io/v1alpha1 ClusterProfile that says how to
// get there (KEP-4322).
type clusterProfile struct {
	metav1.ObjectMeta `json:"metadata"`
	Status            struct {
		AccessProviders []accessProvider `json:"accessProviders"`
	} `json:"status"`
}

type accessProvider struct {
	Name    string              `json:"name"`
	Cluster clientcmdv1.Cluster `json:"cluster"`
}

// execExtension is what clients hand to the plugin.
const execExtension = "client.authentication.k8s.io/exec"

// config is access.Config.BuildConfigFromCP: of the cluster it passes on the address, the
// authorities, the proxy and the extension, and nothing else.
func (p clusterProfile) config(providers []provider) (*rest.Config, error) {
	for _, known := range providers {
		for _, access := range p.Status.AccessProviders {
			if access.Name != known.Name {
				continue
			}
			exec := *known.ExecConfig
			exec.InteractiveMode = clientcmdapi.NeverExecInteractiveMode
			cluster := clientcmdapi.NewCluster()
			if err := clientcmdlatest.Scheme.Convert(&access.Cluster, cluster,
				nil); err != nil {
				return nil, err
			}
			if extension, found := cluster.Extensions[execExtension]; found {
				exec.Config = extension
			}
			config := &rest.Config{Host: access.Cluster.Server, ExecProvider: &exec,
				Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
			config.CAData = access.Cluster.CertificateAuthorityData
			return config, nil
		}
	}
	return nil, fmt.Errorf("no provider for ClusterProfile %q", p.Name)
}

// argoSecret is the data of a Secret with the label argocd.argoproj.io/secret-type: cluster.
type argoSecret struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	Config string `json:"config"`
}

// config is Cluster.RawRestConfig of Argo CD 3.5 (pkg/apis/application/v1alpha1/types.go).
func (s argoSecret) config() (*rest.Config, error) {
	var said struct {
		ExecProviderConfig struct {
			Command            string
			Args               []string
			Env                map[string]string
			APIVersion         string
			ProvideClusterInfo bool
			Config             *runtime.RawExtension
		}
		TLSClientConfig struct {
			Insecure   bool
			ServerName string
			CAData     []byte
		}
	}
	if err := json.Unmarshal([]byte(s.Config), &said); err != nil {
		return nil, err
	}
	from := said.ExecProviderConfig
	exec := &clientcmdapi.ExecConfig{Command: from.Command, Args: from.Args,
		APIVersion: from.APIVersion, ProvideClusterInfo: from.ProvideClusterInfo,
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
	for name, value := range from.Env {
		exec.Env = append(exec.Env, clientcmdapi.ExecEnvVar{Name: name, Value: value})
	}
	if from.Config != nil && len(from.Config.Raw) > 0 {
		exec.Config = &runtime.Unknown{Raw: from.Config.Raw,
			ContentType: runtime.ContentTypeJSON}
	}
	return &rest.Config{Host: s.Server, ExecProvider: exec, TLSClientConfig: rest.TLSClientConfig{
		Insecure: said.TLSClientConfig.Insecure, ServerName: said.TLSClientConfig.ServerName,
		CAData: said.TLSClientConfig.CAData}}, nil
}

// inventory is what a controller is told.
type inventory struct {
	Providers []provider       `json:"providers,omitempty"`
	Profiles  []clusterProfile `json:"profiles,omitempty"`
	Secrets   []argoSecret     `json:"secrets,omitempty"`
}

// configs are by the name of the ClusterProfile or Secret.
func (i inventory) configs() (map[string]*rest.Config, error) {
	configs, failed := map[string]*rest.Config{}, []error{}
	for _, p := range i.Profiles {
		config, err := p.config(i.Providers)
		configs[p.Name] = config
		failed = append(failed, err)
	}
	for _, s := range i.Secrets {
		config, err := s.config()
		configs[s.Name] = config
		failed = append(failed, err)
	}
	return configs, errors.Join(failed...)
}

// seen is who a cluster says that the controller is, or what has kept it from asking.
type seen struct{ User, Error string }

// controllerMain asks every cluster of an inventory at once, some times, who it is there.
func controllerMain(args []string) int {
	data, err := os.ReadFile(args[0])
	var told inventory
	if err == nil {
		err = json.Unmarshal(data, &told)
	}
	var configs map[string]*rest.Config
	if err == nil {
		configs, err = told.configs()
	}
	if err != nil {
		return fail(err)
	}
	all := map[string]seen{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for name, config := range configs {
		wait.Go(func() {
			answer := whoIs(config)
			mu.Lock()
			defer mu.Unlock()
			all[name] = answer
		})
	}
	wait.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		return fail(err)
	}
	return 0
}

// whoIs asks more than once: a client's second request has the credential of the first.
func whoIs(config *rest.Config) (s seen) {
	client, err := kubernetes.NewForConfig(config)
	for range 3 {
		var review *authenticationv1.SelfSubjectReview
		if err == nil {
			review, err = client.AuthenticationV1().SelfSubjectReviews().Create(
				context.Background(), &authenticationv1.SelfSubjectReview{},
				metav1.CreateOptions{})
		}
		if err != nil {
			return seen{Error: err.Error()}
		}
		if s.User != "" && s.User != review.Status.UserInfo.Username {
			return seen{Error: "first " + s.User}
		}
		s.User = review.Status.UserInfo.Username
	}
	return s
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
