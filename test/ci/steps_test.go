//go:build linux

package ci_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// The runners of CI systems, as far as the steps of a job see them: they run its parts one after
// the other, in the directory of the repository, and hand on what one sets for the next.

// step is one of a workflow's, a pipeline's or an action's.
type step struct {
	Uses, Run, Bash, Shell, If string
	With, Env                  map[string]string
}

// runs types a part of a job, as a runner's shell does.
func (r *runner) runs(part string, variables []string, options ...string) lab.Result {
	r.Helper()
	c := r.Command(slices.Concat([]string{"bash", "--noprofile", "--norc"}, options,
		[]string{"-c", part})...)
	c.Env = append(c.Env, variables...)
	return c.Run(r.T)
}

// pipefail are the options of a shell that an action names, and of GitLab's.
var pipefail = []string{"-e", "-o", "pipefail"}

// file is an empty one whose name a runner hands to a step.
func (r *runner) file(name string) string {
	r.Helper()
	return r.Write(r.Path("tmp", name), "")
}

// set has variables be those of the steps that follow.
func (r *runner) set(variables ...string) { r.Variables = append(r.Variables, variables...) }

// github runs the steps of a job of GitHub Actions.
func (r *runner) github(steps []step) {
	r.Helper()
	r.set("CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+r.Home, "RUNNER_OS=Linux",
		"RUNNER_ARCH=X64", "RUNNER_TEMP="+r.Path("tmp"))
	for _, s := range steps {
		switch {
		case s.Run != "":
			r.githubRun(s)
		case strings.HasPrefix(s.Uses, "actions/checkout@"):
		case strings.HasPrefix(s.Uses, "sa-exec-credential/sa-exec-credential@"):
			r.githubAction(s)
		default:
			r.Fatalf("nobody knows how to do %+v", s)
		}
	}
}

func (r *runner) githubRun(s step) {
	r.Helper()
	env, path, output := r.file("env"), r.file("path"), r.file("output")
	variables := []string{"GITHUB_ENV=" + env, "GITHUB_PATH=" + path, "GITHUB_OUTPUT=" + output}
	for name, value := range s.Env {
		variables = append(variables, name+"="+value)
	}
	options := []string{"-e"}
	if s.Shell == "bash" {
		options = pipefail
	}
	r.runs(s.Run, variables, options...).Succeeds()
	for line := range strings.Lines(r.Read(env)) {
		r.set(strings.TrimSpace(line))
	}
	for line := range strings.Lines(r.Read(path)) {
		before := "/usr/bin:/bin"
		for _, setting := range r.Env() {
			if value, found := strings.CutPrefix(setting, "PATH="); found {
				before = value
			}
		}
		r.set("PATH=" + strings.TrimSpace(line) + ":" + before)
	}
}

// action is action.yml.
type action struct {
	Inputs map[string]struct{ Default string }
	Runs   struct {
		Using string
		Steps []step
	}
}

var input = regexp.MustCompile(`\$\{\{ inputs\.([a-z0-9]+) \}\}`)

func (r *runner) githubAction(s step) {
	r.Helper()
	var a action
	if err := yaml.Unmarshal([]byte(r.Read(filepath.Join("..", "..", "action.yml"))),
		&a); err != nil {
		r.Fatal(err)
	}
	inputs := map[string]string{}
	for name, one := range a.Inputs {
		inputs[name] = one.Default
	}
	for name, value := range s.With {
		if _, known := a.Inputs[name]; !known {
			r.Errorf("the action has no input %q", name)
		}
		inputs[name] = value
	}
	for _, s := range a.Runs.Steps {
		// what stands in an expression would be run as a part of the script
		if strings.Contains(s.Run, "${{") || s.Shell != "bash" {
			r.Errorf("an expression in a script, or no shell: %s", s.Run)
		}
		if s.If != "" && s.If != "inputs.version != ''" {
			r.Fatalf("nobody knows what %q is", s.If)
		}
		if s.If != "" && inputs["version"] == "" {
			continue
		}
		for name, value := range s.Env {
			s.Env[name] = input.ReplaceAllStringFunc(value, func(text string) string {
				return inputs[input.FindStringSubmatch(text)[1]]
			})
		}
		r.githubRun(s)
	}
}

// azure runs the steps of a pipeline. What is not mapped into a step it does not see.
func (r *runner) azure(steps []step, job *lab.Job) {
	r.Helper()
	r.set("TF_BUILD=True", "AGENT_TEMPDIRECTORY="+r.Path("tmp"),
		"BUILD_SOURCESDIRECTORY="+r.Home)
	r.set(job.Variables(false)...)
	for _, s := range steps {
		if s.Bash == "" {
			r.Fatalf("nobody knows how to do %+v", s)
		}
		var variables []string
		for name, value := range s.Env {
			if value != "$(System.AccessToken)" {
				r.Fatalf("nobody knows what %s is", value)
			}
			for _, setting := range job.Variables(true) {
				if strings.HasPrefix(setting, name+"=") {
					variables = append(variables, setting)
				}
			}
		}
		r.runs(s.Bash, variables, "-e").Succeeds()
	}
}

// publish publishes the programs under test as a release, and returns the SHA-256 of the first.
func publish(t *testing.T, version string) (sum string) {
	t.Helper()
	const name = "sa-exec-credential-linux-amd64"
	sums := "0000  sa-exec-credential-linux-arm64\n"
	for name, path := range map[string]string{name: lab.Plugin,
		"sa-exec-credential-get-linux-amd64": lab.Client} {
		program, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lab.Jobs.Publish("releases/"+version+"/"+name, program)
		sums += sha256Of(program) + "  " + name + "\n"
		if path == lab.Plugin {
			sum = sha256Of(program)
		}
	}
	lab.Jobs.Publish("releases/"+version+"/SHA256SUMS", []byte(sums))
	return sum
}
