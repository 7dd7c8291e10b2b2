//go:build linux

// The tests run what the README's pictures show, on a real control plane and in a real terminal,
// and compare the text. With -remake (make pictures) they record it anew, and draw it.
package pictures_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
	"github.com/sa-exec-credential/sa-exec-credential/test/pictures"
)

var remake = flag.Bool("remake", false, "record the pictures anew")

// The names of namespaces are those of the pictures, so the control plane is this package's own.
func TestMain(m *testing.M) { lab.Main(m, lab.Options{OwnPlane: true}) }

// The size of the terminal that is drawn.
const (
	columns = 104
	rows    = 30
)

// dir is where the pictures are.
var dir = filepath.Join("..", "..", "docs", "pictures")

const (
	revoking  = "sa-exec-credential revoke --profile ci.build@prod"
	recording = "session.cast"
)

// session is what they show.
var session = []string{
	"sa-exec-credential setup ci -n build --cluster-role view --use-context",
	"kubectl get pods",
	revoking,
	"kubectl get pods",
}

// TestThePicturesShowWhatIsPrinted runs the recorded commands once more.
func TestThePicturesShowWhatIsPrinted(t *testing.T) {
	cast := record(t)
	path := filepath.Join(dir, recording)
	if *remake {
		data, err := cast.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lab.WriteFile(t, path, string(data), 0o644)
		draw(t, read(t, path), func(name string, picture []byte) {
			lab.WriteFile(t, filepath.Join(dir, name), string(picture), 0o644)
		})
		return
	}
	shown, printed := text(read(t, path)), text(cast)
	if shown != printed {
		t.Errorf("make pictures: they show\n%s\nprinted is\n%s", shown, printed)
	}
}

// TestThePicturesAreDrawnFromTheRecording keeps a picture from being older than what it shows.
func TestThePicturesAreDrawnFromTheRecording(t *testing.T) {
	draw(t, read(t, filepath.Join(dir, recording)), func(name string, picture []byte) {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil ||
			!bytes.Equal(data, picture) {
			t.Errorf("make pictures: %s is another (%v)", name, err)
		}
	})
}

// draw draws all of them: the one that stands still, and the one that moves, on light and on dark.
func draw(t *testing.T, cast *pictures.Cast, keep func(name string, picture []byte)) {
	t.Helper()
	for _, theme := range pictures.Themes {
		keep("setup-"+theme.Name+".svg", cast.Until(revoking).SVG(theme,
			"One setup, then kubectl gets its tokens from the plugin"))
		keep("session-"+theme.Name+".svg", cast.Animation(theme,
			"setup, kubectl get pods, revoke, and kubectl is refused"))
	}
}

func read(t *testing.T, path string) *pictures.Cast {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cast, err := pictures.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return cast
}

// text is what is shown without colours, times, names of machines, and where lines are broken.
func text(c *pictures.Cast) string {
	words := strings.Fields(docs.Hidden(pictures.Plain(c.Text())))
	return strings.Join(words, " ")
}

func record(t *testing.T) *pictures.Cast {
	t.Helper()
	m := lab.NewMachine(t, keyring.Keyring)
	m.CallCluster("prod")
	home := shortHome(t, m)
	running(m)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const drawn = "laptop"
	width := columns - max(0, len(drawn)-len(host))
	pretty := strings.NewReplacer(home, "/home/me", lab.Client,
		"/usr/local/bin/sa-exec-credential-get", lab.Plugin,
		"/usr/local/bin/sa-exec-credential", m.Server, "https://prod.example.com:6443",
		"-device-"+strings.ToLower(host)+"-", "-device-"+drawn+"-")
	cast := &pictures.Cast{Columns: columns, Rows: rows}
	for _, command := range session {
		cast.Types(command)
		began := time.Now()
		terminal := m.Command("bash", "-c", command).InTerminal(t, width)
		shown := 0
		lab.Eventually(t, command+" ends", func() bool {
			ended := terminal.HasEnded()
			screen := terminal.Screen.String()
			// whole lines, so that nothing is cut that is replaced
			whole := strings.LastIndex(screen, "\n") + 1
			if ended {
				whole = len(screen)
			}
			if whole > shown {
				cast.Shows(time.Since(began), pretty.Replace(screen[shown:whole]))
				shown, began = whole, time.Now()
			}
			return ended
		})
		terminal.End()
		m.NoteEntries()
		cast.Rests()
	}
	return cast
}

// TestWithoutColoursThereAreNone, and where its outputs are not both the terminal each line has the
// program's name.
func TestWithoutColoursThereAreNone(t *testing.T) {
	m := lab.NewMachine(t, keyring.Kernel)
	for _, test := range []struct{ setting, command, want string }{
		{"TERM=xterm", "sa-exec-credential kubeconfig --profile none", "\x1b[31merror:\x1b[0m no such"},
		{"NO_COLOR=1", "sa-exec-credential kubeconfig --profile none", "error: no such"},
		{"TERM=dumb", "sa-exec-credential kubeconfig --profile none", "error: no such"},
		{"A=b", "sa-exec-credential kubeconfig --profile none | cat", "sa-exec-credential: error: no such"},
		{"A=b", "sa-exec-credential token --profile none > /dev/null", "sa-exec-credential: error: no such"},
	} {
		m.Variables = []string{test.setting}
		shown := m.Command("bash", "-c", test.command).InTerminal(t, columns).End().Stdout
		if !strings.HasPrefix(shown, test.want) {
			t.Errorf("%s %s shows %q", test.setting, test.command, shown)
		}
	}
}

// shortHome is the home directory by a name as long as the one that is drawn, so that lines break
// where they do there.
func shortHome(t *testing.T, m *lab.Machine) (path string) {
	t.Helper()
	for i := 100; i < 1000; i++ {
		path = fmt.Sprintf("/tmp/%d", i)
		err := os.Symlink(m.Home, path)
		if err == nil {
			t.Cleanup(func() { _ = os.Remove(path) })
			m.Variables = append(m.Variables, "HOME="+path, "XDG_RUNTIME_DIR=")
			return path
		}
		if !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	t.Fatal("no short name is free")
	return ""
}

// running has two pods in the namespace. There is no kubelet, so their status is written as one
// would.
func running(m *lab.Machine) {
	m.Helper()
	m.AsAdmin("create", "namespace", "build")
	for _, name := range []string{"worker-0", "worker-1"} {
		m.AsAdmin("run", name, "-n", "build", "--image=busybox", "--restart=Never")
		m.AsAdmin(
			"patch",
			"pod",
			name,
			"-n",
			"build",
			"--subresource=status",
			"--type=merge",
			"-p",
			`{"status": {"phase": "Running", "containerStatuses": [{"name": "`+name+
				`", "ready": true, "restartCount": 0, "image": "busybox", "imageID": "",`+
				` "state": {"running": {}}}]}}`,
		)
	}
}
