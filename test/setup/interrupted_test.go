//go:build linux

package setup_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// site is a machine that has to set up one account through a gate.
type site struct{ *lab.Site }

func newSite(t *testing.T) *site { return &site{lab.NewSite(newMachine(t).Machine)} }

// arguments make setup take all the steps that it knows.
func (s *site) arguments() []string {
	return []string{"setup", "ci", "-n", s.Namespace, "--kubeconfig", s.Admin, "--profile",
		"it", "--store", "keyring",
		"--verb", "get,list", "--resource", "pods,nodes", "--cluster-role", "view"}
}

// TestSetupThatIsKilledAtAnyRequestEndsTheSameOnceRepeated lets each of setup's requests be the
// last thing that it did, before the API server has seen it, and for what changes something also
// after.
func TestSetupThatIsKilledAtAnyRequestEndsTheSameOnceRepeated(t *testing.T) {
	t.Parallel()
	clean := newSite(t)
	clean.Plugin(clean.arguments()...).Succeeds()
	requests, want := clean.Gate.Requests(), clean.state()
	if len(requests) < 20 {
		t.Fatalf("setup made only the requests %q", requests)
	}
	for i, request := range requests {
		if i%lab.Stride() != 0 {
			continue
		}
		for _, after := range []bool{false, true} {
			if after && !lab.Writes(request) {
				continue // that is what the next request sees
			}
			t.Run(fmt.Sprintf("%d %s, after its answer: %v", i+1, lab.Name(request,
				clean.Namespace), after), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.Killed(i+1, after, s.arguments()...)
				s.repeated(want)
			})
		}
	}
}

// repeated runs setup again and looks at what there is then. No secret may lie about at either
// time.
func (s *site) repeated(want string) {
	s.Helper()
	s.NoTokenInFiles()
	s.Plugin(s.arguments()...).Succeeds()
	if got := s.state(); got != want {
		s.Errorf("the end is another than that of one run:\n%s", difference(want, got))
	}
	s.Kubectl("--context", "it", "get", "pods").Succeeds()
}

// TestSetupThatIsKilledAtAnyLineEndsTheSameOnceRepeated kills setup when it has said that a step
// is done.
func TestSetupThatIsKilledAtAnyLineEndsTheSameOnceRepeated(t *testing.T) {
	t.Parallel()
	clean := newSite(t)
	lines := steps(clean.Plugin(clean.arguments()...).Succeeds().Stderr)
	want := clean.state()
	if len(lines) < 10 {
		t.Fatalf("setup said only %q", lines)
	}
	for i, line := range lines {
		if i%lab.Stride() != lab.Stride()/2 {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i+1, lab.Name(line, clean.Namespace)),
			func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.killedAfterLine(i + 1)
				s.RestartKeyring()
				s.repeated(want)
			})
	}
}

const stepPrefix = "sa-exec-credential: setup: "

func steps(stderr string) (lines []string) {
	for line := range strings.Lines(stderr) {
		if step, found := strings.CutPrefix(line, stepPrefix); found {
			lines = append(lines, strings.TrimSpace(step))
		}
	}
	return lines
}

// killedAfterLine kills setup when it has said so many steps.
func (s *site) killedAfterLine(n int) {
	s.Helper()
	setup := s.Command(append([]string{lab.Plugin}, s.arguments()...)...)
	setup.Heard = func(setup *lab.Started) {
		if len(steps(setup.Stderr.String())) >= n {
			setup.Signal(syscall.SIGKILL)
		}
	}
	if r := setup.Run(s.T); r.Code != lab.EndedBySignal {
		s.Fatalf("setup was over before its line %d:\n%s", n, r.Stderr)
	}
}

// state is what a setup leaves in the cluster, in files and in the store, without what differs
// between any two setups: names of namespace and device, ids, times.
func (s *site) state() string {
	s.Helper()
	var b strings.Builder
	for _, path := range objectPaths(s.Namespace) {
		fmt.Fprintf(&b, "%s\n%s\n", path, object(s.T, path))
	}
	for _, file := range []string{s.Path(".config", "sa-exec-credential", "profiles",
		"it.yaml"), s.Kubeconfig()} {
		fmt.Fprintf(&b, "%s\n%s\n", file, s.Read(file))
	}
	for _, key := range s.StoreKeys() {
		kind, _, _ := strings.Cut(key, ":")
		fmt.Fprintf(&b, "in the store: %s\n", kind)
	}
	fmt.Fprintf(&b, "files: %q\n", s.Files())
	return s.withoutNames(b.String())
}

// objectPaths are lists where the names may differ, and objects elsewhere.
func objectPaths(namespace string) []string {
	const rbac = "/apis/rbac.authorization.k8s.io/v1/"
	role := "sa-exec-credential:" + namespace + ":ci"
	return []string{
		"/api/v1/namespaces/" + namespace, "/api/v1/namespaces/" + namespace +
			"/serviceaccounts",
		"/api/v1/namespaces/" + namespace + "/secrets",
		rbac + "namespaces/" + namespace + "/roles", rbac + "namespaces/" + namespace +
			"/rolebindings",
		rbac + "clusterroles/" + role, rbac + "clusterrolebindings/" + role,
	}
}

// object reads one as the API server has it, without ids and times.
func object(t *testing.T, path string) string {
	t.Helper()
	var object any
	if err := json.Unmarshal([]byte(lab.AsAdmin(t, "", "get", "--raw", path).Succeeds().Stdout),
		&object); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.MarshalIndent(timeless(object), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// timeless removes what no two objects have in common, at all depths.
func timeless(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp",
			"time", "status", "generation",
			"sa-exec-credential/bootstrap-issued",
			"sa-exec-credential/bootstrap-expires"} {
			if _, isText := value[field].(string); isText {
				value[field] = "…"
			} else {
				delete(value, field)
			}
		}
		for key, field := range value {
			value[key] = timeless(field)
		}
	case []any:
		for i, item := range value {
			value[i] = timeless(item)
		}
	}
	return value
}

func (s *site) withoutNames(text string) string {
	s.Helper()
	p := s.Load("it")
	cluster := ""
	for line := range strings.Lines(s.Read(s.Kubeconfig())) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "cluster: "); found {
			cluster = name
		}
	}
	name := strings.TrimPrefix(p.Device.Name, "ci-device-")
	return strings.NewReplacer(p.Profile.Device, "RECORD", s.Namespace, "NS", name, "DEVICE",
		p.Device.SecretUID, "UID", p.Device.AccountUID, "UID", s.Home, "HOME",
		filepath.Dir(s.Admin), "ADMIN", s.Gate.URL, "SERVER",
		cluster, "CLUSTER").Replace(text)
}

// difference shows the lines that are in one text only.
func difference(want, got string) string {
	var b strings.Builder
	wanted, gotten := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range wanted {
		if !slices.Contains(gotten, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	for _, line := range gotten {
		if !slices.Contains(wanted, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	if b.Len() == 0 {
		return want + "\n---\n" + got
	}
	return b.String()
}
