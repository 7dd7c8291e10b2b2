package cluster

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// TestKnowsActing has the words of API servers, with and without constrained impersonation.
func TestKnowsActing(t *testing.T) {
	const user = `forbidden: User "system:serviceaccount:default:default" cannot `
	for message, want := range map[string]bool{
		user + `impersonate-on:serviceaccount:get path "/version"`: true,
		user + `impersonate:serviceaccount resource "serviceaccounts" in API group ` +
			`"authentication.k8s.io" in the namespace "sa-exec-credential"`: true,
		user + `impersonate resource "serviceaccounts" in API group "" in the namespace ` +
			`"sa-exec-credential"`: false,
		user + `get path "/version"`: false,
		"":                           false,
	} {
		refusal := &api.StatusError{Kind: api.ErrForbidden, Code: http.StatusForbidden,
			Message: message}
		if KnowsActing(fmt.Errorf("asking: %w", refusal)) != want {
			t.Errorf("%q: want %v", message, want)
		}
		other := &api.StatusError{Kind: api.ErrServer, Code: 500, Message: message}
		if KnowsActing(other) || KnowsActing(nil) {
			t.Errorf("%q of another answer counts", message)
		}
	}
}

// TestMinterLines: a name is read to the line's end, whatever is in it.
func TestMinterLines(t *testing.T) {
	lines := minterLines(deviceX, profile.Minters{Users: []string{"a user:b"},
		Groups: []string{"ci: all, of them"}, Accounts: []string{"ci/runner"}})
	want := []string{deviceX + " user:a user:b",
		deviceX + " user:system:serviceaccount:ci:runner", deviceX + " group:ci: all, of them"}
	if !slices.Equal(lines, want) {
		t.Errorf("%q, not %q", lines, want)
	}
}

// TestMintersAreReadAsTheyAreWritten in a binding.
func TestMintersAreReadAsTheyAreWritten(t *testing.T) {
	m := profile.Minters{Users: []string{"alice"}, Groups: []string{"ci, all"},
		Accounts: []string{"ci/runner"}}
	spec := deviceOf("build", Minting{Minters: m})
	objects := mintingObjects(spec)
	ref := objects[1].Ref()
	client, _ := serve(t, map[string]answer{"GET " + ref.path(): live(t, objects[1],
		func(map[string]any) {})})
	got, err := MintersOf(t.Context(), client, "build", deviceX)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := MintersOf(t.Context(), client, "other", deviceX); err != nil ||
		!got.IsEmpty() {
		t.Errorf("of no device: %+v, %v", got, err)
	}
}

// TestWhomMintersActAs cannot be mistaken for another account's.
func TestWhomMintersActAs(t *testing.T) {
	const want = "system:serviceaccount:sa-exec-credential:build." + deviceX
	if got := ActingUser("build", deviceX); got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if ActingUser("a", "b.c-device-x-0123456789abcdef") == ActingUser("a-b",
		"c-device-x-0123456789abcdef") {
		t.Error("two accounts share one")
	}
}
