package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// Resource is a resource or, with a slash in its name, a subresource that the cluster has.
type Resource struct {
	Group      string // empty for the core group
	Version    string // that the cluster prefers
	Name       string // plural, such as "deployments" or "deployments/scale"
	Singular   string
	ShortNames []string
	Namespaced bool
	Verbs      []string
}

// String is the spelling that names no other resource, such as "deployments.apps/scale".
func (r Resource) String() string { return Qualified(r.Name, r.Group) }

// Qualified is a resource, or a subresource behind a slash, with its group, as kubectl spells it.
func Qualified(name, group string) string {
	if group == "" {
		return name
	}
	main, sub, found := strings.Cut(name, "/")
	if !found {
		return main + "." + group
	}
	return main + "." + group + "/" + sub
}

// Resources are what a cluster has, each in the version that it prefers, in its order of groups.
type Resources []Resource

// aggregated asks for all groups in one answer (KEP-3352). Servers that cannot, and proxies that
// drop the parameters, answer with the plain list of groups.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

// Discover asks which resources the cluster has. A group whose own server is down is left out.
func Discover(ctx context.Context, client *api.Client) (Resources, error) {
	var all Resources
	for _, root := range []string{"/api", "/apis"} {
		found, err := discoverBelow(ctx, client, root)
		if err != nil {
			return nil, fmt.Errorf("discovering the cluster's resources: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func discoverBelow(ctx context.Context, client *api.Client, root string) (Resources, error) {
	answer, err := get(ctx, client, root, aggregated, nil)
	if err != nil {
		return nil, err
	}
	var head metav1.TypeMeta
	if err := decode(answer, &head); err != nil {
		return nil, err
	}
	if head.Kind == "APIGroupDiscoveryList" {
		return readAggregated(answer)
	}
	return discoverOneByOne(ctx, client, root, answer)
}

// discoveryList has the fields of apidiscovery.k8s.io/v2 APIGroupDiscoveryList that count here.
type discoveryList struct {
	Items []struct {
		metav1.ObjectMeta `json:"metadata"`
		Versions          []struct {
			Version   string `json:"version"`
			Resources []struct {
				Resource         string   `json:"resource"`
				Scope            string   `json:"scope"`
				SingularResource string   `json:"singularResource"`
				ShortNames       []string `json:"shortNames"`
				Verbs            []string `json:"verbs"`
				Subresources     []struct {
					Subresource string   `json:"subresource"`
					Verbs       []string `json:"verbs"`
				} `json:"subresources"`
			} `json:"resources"`
		} `json:"versions"`
	} `json:"items"`
}

func readAggregated(answer []byte) (Resources, error) {
	var list discoveryList
	if err := decode(answer, &list); err != nil {
		return nil, err
	}
	var found Resources
	for _, group := range list.Items {
		for _, version := range group.Versions {
			for _, r := range version.Resources {
				main := Resource{Group: group.Name, Version: version.Version,
					Name: r.Resource, Singular: r.SingularResource,
					ShortNames: r.ShortNames, Namespaced: r.Scope == "Namespaced", Verbs: r.Verbs}
				found = found.add(main)
				for _, sub := range r.Subresources {
					found = found.add(Resource{Group: group.Name,
						Name:       r.Resource + "/" + sub.Subresource,
						Namespaced: main.Namespaced, Verbs: sub.Verbs})
				}
			}
		}
	}
	return found, nil
}

// add leaves out what a preferred version had already.
func (rs Resources) add(r Resource) Resources {
	if slices.ContainsFunc(rs,
		func(o Resource) bool { return o.Group == r.Group && o.Name == r.Name }) {
		return rs
	}
	return append(rs, r)
}

// discoverOneByOne reads the document of every group and version.
func discoverOneByOne(ctx context.Context, client *api.Client, root string,
	answer []byte) (Resources, error) {
	versions, err := groupVersions(root, answer)
	if err != nil {
		return nil, err
	}
	var found Resources
	for _, version := range versions {
		answer, err := get(ctx, client, root+"/"+version, "", nil)
		if errors.Is(err, api.ErrServer) || errors.Is(err, api.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var list metav1.APIResourceList
		if err := decode(answer, &list); err != nil {
			return nil, err
		}
		group, name, grouped := strings.Cut(version, "/")
		if !grouped {
			group, name = "", version
		}
		for _, r := range list.APIResources {
			found = found.add(Resource{Group: group, Version: name, Name: r.Name,
				Singular:   r.SingularName,
				ShortNames: r.ShortNames,
				Namespaced: r.Namespaced, Verbs: r.Verbs})
		}
	}
	return found, nil
}

// groupVersions lists "v1" for the core group and "apps/v1" for others, preferred ones first.
func groupVersions(root string, answer []byte) ([]string, error) {
	if root == "/api" {
		var core metav1.APIVersions
		err := decode(answer, &core)
		return core.Versions, err
	}
	var groups metav1.APIGroupList
	if err := decode(answer, &groups); err != nil {
		return nil, err
	}
	var versions []string
	for _, group := range groups.Groups {
		versions = append(versions, group.PreferredVersion.GroupVersion)
		for _, version := range group.Versions {
			if version.GroupVersion != group.PreferredVersion.GroupVersion {
				versions = append(versions, version.GroupVersion)
			}
		}
	}
	return versions, nil
}

func decode(answer []byte, into any) error {
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%w: it is not the JSON expected", api.ErrAnswer)
	}
	return nil
}
