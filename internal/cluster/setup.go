// Package setup prepares a cluster for one service account: what setup, rotate, revoke and devices
// do there. It says which objects are wanted, sends them by server-side apply, keeps the device
// Secrets, and asks what the account can do.
//
// Objects are JSON built here: it must import neither a generated clientset nor client-go's
// discovery and dynamic clients, which every get would pay for in start-up time. It knows nothing
// of kubeconfig files, stores or terminals: of this module it imports internal/api and
// internal/profile.
package cluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// fieldManager owns what is applied (KEP-555), and is the value of the managed-by label.
const fieldManager = "sa-exec-credential"

// Limits of the API server on names, in bytes.
const (
	maxName  = validation.DNS1123SubdomainMaxLength
	maxLabel = validation.LabelValueMaxLength
)

// Wanted is what the cluster shall hold for one service account.
type Wanted struct {
	Namespace      string
	ServiceAccount string

	Roles        []string // existing Roles of the namespace to bind
	ClusterRoles []string // existing ClusterRoles to bind
	// Verbs, Resources and ResourceNames are those of a role to create, spelled as kubectl
	// create role spells them.
	Verbs, Resources, ResourceNames []string
	// ClusterRoles and the created role count in all namespaces
	ClusterWide bool
	// In are the namespaces in which the rights are granted; none: the account's own.
	In []string
	// NoRBAC leaves the account and its rights as they are.
	NoRBAC bool

	Limits bool // limit what devices can ask for, by the cluster's policy
	// Minting is for the namespace that minters act in; what it is else goes with a device.
	Minting Minting

	AllowDefaultAccount bool // go on although every pod of the namespace has the account
	AllowAdmin          bool // go on although the account gets to do everything
}

// Subject is a service account.
type Subject struct{ Namespace, Name string }

// Username is the name that RBAC and admission know the subject by.
func (s Subject) Username() string {
	return "system:serviceaccount:" + s.Namespace + ":" + s.Name
}

func (w Wanted) createsRole() bool { return len(w.Verbs)+len(w.Resources)+len(w.ResourceNames) > 0 }

// Check is an ErrUsage, ErrDefaultAccount or ErrAdmin when the wish cannot or should not be
// granted. It asks no server.
func (w Wanted) Check() error {
	if err := w.problem(); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := CheckMinting(w.Namespace, w.ServiceAccount, w.Minting); err != nil {
		return err
	}
	if w.ServiceAccount == "default" && !w.AllowDefaultAccount {
		return fmt.Errorf("%w: %q", ErrDefaultAccount, w.Namespace+"/default")
	}
	if w.AllowAdmin {
		return nil
	}
	if slices.Contains(split(w.ClusterRoles), "cluster-admin") {
		return fmt.Errorf("%w: cluster role %q", ErrAdmin, "cluster-admin")
	}
	if slices.Contains(split(w.Verbs), "*") {
		return fmt.Errorf("%w: verb %q", ErrAdmin, "*")
	}
	for _, resource := range split(w.Resources) {
		if resource == "*" || strings.HasPrefix(resource, "*.") ||
			strings.HasPrefix(resource, "*/") {
			return fmt.Errorf("%w: resource %q", ErrAdmin, resource)
		}
	}
	return nil
}

func (w Wanted) problem() error {
	if err := w.namesProblem(); err != nil {
		return err
	}
	switch {
	case w.NoRBAC && (w.createsRole() || len(w.Roles)+len(w.ClusterRoles) > 0):
		return errors.New("without RBAC no role can be bound or created")
	case w.createsRole() && (len(split(w.Verbs)) == 0 || len(split(w.Resources)) == 0):
		return errors.New("a role needs at least one verb and one resource")
	case w.ClusterWide && len(w.In) > 0:
		return errors.New("--cluster-wide and --in cannot be combined")
	case w.NoRBAC && len(w.In) > 0:
		return errors.New("--no-rbac and --in cannot be combined")
	}
	return nil
}

func (w Wanted) namesProblem() error {
	err := cmp.Or(profile.CheckNamespace(w.Namespace),
		profile.CheckServiceAccount(w.ServiceAccount))
	switch {
	case err != nil:
	case w.Namespace == limitsNamespace:
		err = fmt.Errorf("invalid namespace %q: it is for the limits of all accounts",
			w.Namespace)
	case len(w.ServiceAccount) > maxAccount:
		err = fmt.Errorf("invalid service account %q: must be no more than %d bytes",
			w.ServiceAccount, maxAccount)
	case strings.Contains(w.ServiceAccount+"-", deviceInfix):
		err = fmt.Errorf("invalid service account %q: %q is for the names of devices",
			w.ServiceAccount, deviceInfix)
	}
	for _, namespace := range split(w.In) {
		err = cmp.Or(err, profile.CheckNamespace(namespace))
	}
	for _, role := range split(slices.Concat(w.Roles, w.ClusterRoles)) {
		if err == nil && !isRoleName(role) {
			err = fmt.Errorf("invalid role %q: must be one part of a path", role)
		}
	}
	return err
}

// isRoleName reports whether RBAC admits name: more than it does of other objects.
func isRoleName(name string) bool {
	return name != "" && len(name) <= maxName && len(content.IsPathSegmentName(name)) == 0
}

// split takes lists written with commas apart, as kubectl does, and drops what is empty or there
// twice.
func split(values []string) []string {
	var parts []string
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" && !slices.Contains(parts,
				part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// shorten keeps a name within limit bytes. A hash of the whole takes the place of what does not
// fit, so that two long names stay two.
func shorten(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	tail := "-" + hex.EncodeToString(sum[:5])
	return strings.TrimRight(name[:limit-len(tail)], "-.:") + tail
}
