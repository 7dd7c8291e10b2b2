package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

// WaitForRoles returns when the controller manager has filled in the aggregated
// roles view, edit and admin, which are empty in a new cluster.
func (c *ControlPlane) WaitForRoles(ctx context.Context) error {
	if c.controllerManager == nil {
		return errors.New("waiting for aggregated roles: no controller manager was asked " +
			"for")
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := poll(ctx, c.controllerManager, func() bool { return c.rolesAggregated(ctx) })
	if err != nil {
		return fmt.Errorf("waiting for aggregated roles: %w", err)
	}
	return nil
}

// rolesAggregated is true when each role has the rules of the one before. A rule
// alone would not do: edit has its own before it has those of view.
func (c *ControlPlane) rolesAggregated(ctx context.Context) bool {
	var below []string
	for _, name := range []string{"view", "edit", "admin"} {
		rules, err := c.clusterRoleRules(ctx, name)
		if err != nil || len(rules) <= len(below) {
			return false
		}
		for _, rule := range below {
			if !slices.Contains(rules, rule) {
				return false
			}
		}
		below = rules
	}
	return true
}

// clusterRoleRules returns the rules as the API server spells them in JSON.
func (c *ControlPlane) clusterRoleRules(ctx context.Context, name string) ([]string, error) {
	body, err := c.get(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterroles/"+name)
	if err != nil {
		return nil, err
	}
	var role struct {
		Rules []json.RawMessage `json:"rules"`
	}
	if err := json.Unmarshal(body, &role); err != nil {
		return nil, err
	}
	rules := make([]string, len(role.Rules))
	for i, rule := range role.Rules {
		rules[i] = string(rule)
	}
	return rules, nil
}

// get asks the API server, as the administrator, and fails for any answer but
// 200 OK.
func (c *ControlPlane) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.admin.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return body, nil
}
