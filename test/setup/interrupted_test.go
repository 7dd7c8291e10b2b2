//go:build linux

package journeys_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// site is a machine that has to set up one account through a gate.
type site struct {
	*machine
	gate      *gate
	namespace string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{machine: newMachine(t), gate: newGate(t), namespace: newNamespace()}
	s.admin = s.write(s.path("admin"), string(s.gate.admin))
	return s
}

// arguments make setup take all the steps that it knows.
func (s *site) arguments() []string {
	return []string{shared.plugin, "setup", "ci", "-n", s.namespace, "--kubeconfig", s.admin, "--profile", "it", "--store", "keyring",
		"--verb", "get,list", "--resource", "pods,nodes", "--cluster-role", "view"}
}

// TestSetupThatIsKilledAtAnyRequestEndsTheSameOnceRepeated lets each of setup's requests be the last thing that it did,
// before the API server has seen it, and for what changes something also after.
func TestSetupThatIsKilledAtAnyRequestEndsTheSameOnceRepeated(t *testing.T) {
	t.Parallel()
	clean := newSite(t)
	clean.start("", clean.arguments()...).succeeds()
	requests, want := clean.gate.requests(), clean.state()
	if len(requests) < 20 {
		t.Fatalf("setup made only the requests %q", requests)
	}
	for i, request := range requests {
		for _, after := range []bool{false, true} {
			if after && !writes(request) {
				continue // that is what the next request sees
			}
			t.Run(fmt.Sprintf("%d %s, after its answer: %v", i+1, path(request, clean.namespace), after), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.killedAt(i+1, after)
				s.repeated(want)
			})
		}
	}
}

func path(request, namespace string) string {
	return strings.ReplaceAll(strings.ReplaceAll(request, namespace, "NS"), "/", "·")
}

// killedAt runs setup until the gate strikes.
func (s *site) killedAt(request int, after bool) {
	s.Helper()
	s.killed(s.arguments(), request, after)
}

func (s *site) killed(args []string, request int, after bool) {
	s.Helper()
	cmd := s.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	killed := false
	s.gate.arm(request, after, func() {
		killed = true
		_ = cmd.Process.Kill()
	})
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	_ = cmd.Wait()
	s.gate.arm(0, false, nil)
	if !killed {
		s.Fatalf("%s was over before its request %d:\n%s", args[1], request, out.String())
	}
	noSecret(s.T, "what was printed", out.Bytes())
}

// repeated runs setup again and looks at what there is then. No secret may lie about at either time.
func (s *site) repeated(want string) {
	s.Helper()
	s.noSecretInFiles()
	s.start("", s.arguments()...).succeeds()
	if got := s.state(); got != want {
		s.Errorf("the end is another than that of one run:\n%s", difference(want, got))
	}
	s.kubectl("it", "get", "pods").succeeds()
}

// TestSetupThatIsKilledAtAnyLineEndsTheSameOnceRepeated kills setup when it has said that a step is done.
func TestSetupThatIsKilledAtAnyLineEndsTheSameOnceRepeated(t *testing.T) {
	t.Parallel()
	clean := newSite(t)
	lines := steps(clean.start("", clean.arguments()...).succeeds().stderr)
	want := clean.state()
	if len(lines) < 10 {
		t.Fatalf("setup said only %q", lines)
	}
	for i, line := range lines {
		t.Run(fmt.Sprintf("%d %s", i+1, path(line, clean.namespace)), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.killedAfterLine(i + 1)
			s.restartKeyring()
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

func (s *site) killedAfterLine(n int) {
	s.Helper()
	cmd := s.command(s.arguments()...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	reader := bufio.NewReader(stderr)
	for seen := 0; seen < n; {
		line, err := reader.ReadString('\n')
		if err != nil {
			s.Fatalf("setup was over before its line %d", n)
		}
		if strings.HasPrefix(line, stepPrefix) {
			seen++
		}
	}
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, reader)
	_ = cmd.Wait()
}

// restartKeyring is for after a kill that may have hit in the middle of a question to gnome-keyring, of which that one can
// end, too. The session bus of a desktop starts it again.
func (m *machine) restartKeyring() {
	m.Helper()
	m.service.StopKeyring()
	if err := m.service.StartKeyring(true); err != nil {
		m.Fatal(err)
	}
}

// state is what a setup leaves in the cluster, in files and in the store, without what differs between any two setups:
// names of namespace and device, ids, times.
func (s *site) state() string {
	s.Helper()
	var b strings.Builder
	for _, path := range objectPaths(s.namespace) {
		fmt.Fprintf(&b, "%s\n%s\n", path, s.object(path))
	}
	for _, file := range []string{s.path(".config", "sa-exec-credential", "profiles", "it.yaml"), s.kubeconfig()} {
		fmt.Fprintf(&b, "%s\n%s\n", file, s.read(file))
	}
	for _, key := range s.storeKeys() {
		kind, _, _ := strings.Cut(key, ":")
		fmt.Fprintf(&b, "in the store: %s\n", kind)
	}
	fmt.Fprintf(&b, "files: %q\n", s.files())
	return s.withoutNames(b.String())
}

// objectPaths are lists where the names may differ, and objects elsewhere.
func objectPaths(namespace string) []string {
	const rbac, admission = "/apis/rbac.authorization.k8s.io/v1/", "/apis/admissionregistration.k8s.io/v1/"
	role := "sa-exec-credential:" + namespace + ":ci"
	policy := "sa-exec-credential." + namespace + ".ci"
	return []string{
		"/api/v1/namespaces/" + namespace,
		"/api/v1/namespaces/" + namespace + "/serviceaccounts/ci", "/api/v1/namespaces/" + namespace + "/serviceaccounts/ci-bootstrap",
		"/api/v1/namespaces/" + namespace + "/secrets",
		rbac + "namespaces/" + namespace + "/roles", rbac + "namespaces/" + namespace + "/rolebindings",
		rbac + "clusterroles/" + role, rbac + "clusterrolebindings/" + role,
		admission + "validatingadmissionpolicies/" + policy, admission + "validatingadmissionpolicybindings/" + policy,
	}
}

// object reads one as the API server has it, without ids and times.
func (m *machine) object(path string) string {
	m.Helper()
	response, err := shared.admin.Get(shared.plane.Server + path)
	if err != nil {
		m.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		m.Fatalf("%s: %s", path, response.Status)
	}
	var object any
	if err := json.NewDecoder(response.Body).Decode(&object); err != nil {
		m.Fatal(err)
	}
	encoded, err := json.MarshalIndent(timeless(object), "", " ")
	if err != nil {
		m.Fatal(err)
	}
	return string(encoded)
}

// timeless removes what no two objects have in common, at all depths.
func timeless(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "time", "status", "generation",
			"sa-exec-credential/bootstrap-issued", "sa-exec-credential/bootstrap-expires"} {
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

// files lists what setup has made.
func (m *machine) files() []string {
	m.Helper()
	var files []string
	for _, folder := range []string{".config", ".kube", "run"} {
		err := filepath.WalkDir(m.path(folder), func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, ".calls") && !strings.HasSuffix(path, ".lock") &&
				!strings.Contains(path, filepath.Join(".kube", "cache")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.Fatal(err)
		}
	}
	slices.Sort(files)
	return files
}

func (s *site) withoutNames(text string) string {
	s.Helper()
	device := s.profile("it").Device
	cluster := ""
	for line := range strings.Lines(s.read(s.kubeconfig())) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "cluster: "); found {
			cluster = name
		}
	}
	name := strings.TrimPrefix(device.Secret, "ci-device-")
	return strings.NewReplacer(s.namespace, "NS", name, "DEVICE", device.UID, "UID", s.home, "HOME", s.gate.url, "SERVER",
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
