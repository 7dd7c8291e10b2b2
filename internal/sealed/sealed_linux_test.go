package sealed

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed/swtpmtest"
)

const value = "the value, which no file may hold"

func startTPM(t *testing.T) *swtpmtest.TPM {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	simulator, err := swtpmtest.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(simulator.Stop)
	return simulator
}

func filesBy(t *testing.T, sealer Sealer) Files {
	t.Helper()
	return Files{Dir: filepath.Join(t.TempDir(), "program", "sealed"), Sealer: sealer}
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustWrite(t *testing.T, f Files, name string) {
	t.Helper()
	if err := f.Write(limited(t), name, "label", []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t *testing.T, f Files, name string) {
	t.Helper()
	got, err := f.Read(limited(t), name)
	if err != nil || string(got) != value {
		t.Errorf("reading %s: %q, %v", name, got, err)
	}
}

// wantError is about a Read.
func wantError(t *testing.T, f Files, name string, want error, words string) {
	t.Helper()
	got, err := f.Read(limited(t), name)
	if !errors.Is(err, want) || got != nil || err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("reading %s: %q, %v; want %v, with %q", name, got, err, want, words)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "bootstrap:a")
	wantValue(t, f, "bootstrap:a")
	t.Run("after a restart", func(t *testing.T) {
		if err := simulator.Restart(); err != nil {
			t.Fatal(err)
		}
		wantValue(t, f, "bootstrap:a")
	})
	t.Run("and its label without a TPM", func(t *testing.T) {
		label, err := Files{Dir: f.Dir}.Label("bootstrap:a")
		if err != nil || label != "label" {
			t.Errorf("%q, %v", label, err)
		}
	})
	t.Run("in files that only their owner reads", func(t *testing.T) {
		for path, mode := range map[string]os.FileMode{"": 0o700, "bootstrap:a": 0o600} {
			info, err := os.Stat(filepath.Join(f.Dir, path))
			if err != nil || info.Mode().Perm() != mode {
				t.Errorf("%q: %v, %v", path, info.Mode(), err)
			}
		}
		data, _ := os.ReadFile(filepath.Join(f.Dir, "bootstrap:a"))
		if bytes.Contains(data, []byte(value)) {
			t.Errorf("the file holds the value:\n%s", data)
		}
	})
	t.Run("until it is removed", func(t *testing.T) {
		left := filepath.Join(f.Dir, ".bootstrap:a.123.tmp") // of a writer that was killed
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := f.Remove(limited(t), "bootstrap:a"); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, f, "bootstrap:a", ErrMissing, "")
		if entries, err := os.ReadDir(f.Dir); err != nil || len(entries) > 0 {
			t.Errorf("there still is %v, %v", entries, err)
		}
	})
}

func TestNothingIsThereBeforeTheFirstWrite(t *testing.T) {
	f := filesBy(t, OpenTPM("unix:/nowhere"))
	wantError(t, f, "token:a", ErrMissing, "")
	if err := f.Remove(limited(t), "token:a"); err != nil {
		t.Error(err)
	}
	if names, err := f.Names(); err != nil || len(names) > 0 {
		t.Errorf("%q, %v", names, err)
	}
}

func TestOnlyPlainNamesAreFiles(t *testing.T) {
	f := filesBy(t, OpenTPM("unix:/nowhere"))
	for _, name := range []string{"", ".", "..", "../a", "a/b", "/a", ".a.lock"} {
		_, readErr := f.Read(limited(t), name)
		writeErr := f.Write(limited(t), name, "", nil)
		removeErr := f.Remove(limited(t), name)
		for _, err := range []error{readErr, writeErr, removeErr} {
			if err == nil || !strings.Contains(err.Error(), "is not the name") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// TestAFileThatWasChangedIsNotUsed changes a good file in every way that matters.
func TestAFileThatWasChangedIsNotUsed(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	mustWrite(t, f, "token:b")
	good, other := parse(t, f, "token:a"), parse(t, f, "token:b")
	changes := map[string]struct {
		change func(*file)
		words  string
	}{
		"another entry's, copied over it": {func(c *file) { *c = other }, "another entry's"},
		"another label":                   {func(c *file) { c.Label = "x" }, "altered"},
		"another ciphertext":              {func(c *file) { c.Ciphertext[0] ^= 1 }, "altered"},
		"another nonce":                   {func(c *file) { c.Nonce[0] ^= 1 }, "altered"},
		"a nonce that is too short":       {func(c *file) { c.Nonce = c.Nonce[1:] }, "altered"},
		"another entry's key":             {func(c *file) { c.Key = other.Key }, "altered"},
		"an altered key": {func(c *file) { c.Key.Private[40] ^= 1 },
			"altered (TPM_RC_INTEGRITY"},
		"an altered template": {func(c *file) { c.Key.Public[6] ^= 1 }, "altered"},
		"no key":              {func(c *file) { c.Key.Private = nil }, "torn or altered"},
		"another TPM's key":   {func(c *file) { c.Key.Parent[3] ^= 1 }, "another TPM"},
		"another kind":        {func(c *file) { c.Kind = SystemdHost }, "by systemd-host"},
		"a newer version":     {func(c *file) { c.Version = 2 }, "version 2"},
		"no version":          {func(c *file) { c.Version = 0 }, "torn or altered"},
	}
	for name, test := range changes {
		t.Run(name, func(t *testing.T) {
			changed := parse(t, f, "token:a")
			test.change(&changed)
			encoded, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			put(t, f, "token:a", encoded)
			defer func() {
				restored, _ := json.Marshal(good)
				put(t, f, "token:a", restored)
			}()
			wantError(t, f, "token:a", ErrUnusable, test.words)
		})
	}
	wantValue(t, f, "token:a")
	t.Run("torn anywhere", func(t *testing.T) {
		whole, err := os.ReadFile(filepath.Join(f.Dir, "token:a"))
		if err != nil {
			t.Fatal(err)
		}
		for length := 0; length < len(whole); length += 37 {
			put(t, f, "token:a", whole[:length])
			wantError(t, f, "token:a", ErrUnusable, "torn or altered")
		}
		put(t, f, "token:a", append(slices.Clone(whole), whole...))
		wantError(t, f, "token:a", ErrUnusable, "torn or altered")
	})
	t.Run("that others can write", func(t *testing.T) {
		path := filepath.Join(f.Dir, "token:b")
		if err := os.Chmod(path, 0o620); err != nil {
			t.Fatal(err)
		}
		wantError(t, f, "token:b", ErrUnusable, "written by others")
	})
	t.Run("in a directory that others can write", func(t *testing.T) {
		if err := os.Chmod(f.Dir, 0o770); err != nil {
			t.Fatal(err)
		}
		wantError(t, f, "token:b", ErrUnavailable, "written by others")
	})
}

func parse(t *testing.T, f Files, name string) (parsed file) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err == nil {
		err = json.Unmarshal(data, &parsed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func put(t *testing.T, f Files, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.Dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherTPMOpensNothing(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	if err := simulator.Replace(); err != nil {
		t.Fatal(err)
	}
	wantError(t, f, "token:a", ErrUnusable, "another TPM has sealed it")
	t.Run("not either when the file says that it is the one", func(t *testing.T) {
		mustWrite(t, f, "token:b")
		changed := parse(t, f, "token:a")
		changed.Key.Parent = parse(t, f, "token:b").Key.Parent
		encoded, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		put(t, f, "token:a", encoded)
		wantError(t, f, "token:a", ErrUnusable, "TPM_RC_INTEGRITY")
	})
}

func TestATPMThatIsNotThereIsUnavailable(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	simulator.Stop()
	wantError(t, f, "token:a", ErrUnavailable, "no TPM at unix:")
	for place, words := range map[string]string{"/dev/null/x": "opening the TPM",
		"/nowhere": "no TPM at /nowhere", "/etc/passwd": "is not a device"} {
		f.Sealer = OpenTPM(place)
		wantError(t, f, "token:a", ErrUnavailable, words)
	}
}

// TestASimulatorThatComesLateIsWaitedFor is what a service that is being restarted does.
func TestASimulatorThatComesLateIsWaitedFor(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	away := simulator.Socket + ".away"
	if err := os.Rename(simulator.Socket, away); err != nil {
		t.Fatal(err)
	}
	come := time.AfterFunc(startLimit/10, func() { _ = os.Rename(away, simulator.Socket) })
	defer come.Stop()
	wantValue(t, f, "token:a")
}

// TestASealedKeyKnowsNoLockout locks the TPM out as wrong passwords would: what is sealed has none.
func TestASealedKeyKnowsNoLockout(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	lockOut(t, simulator)
	wantValue(t, f, "token:a")
	mustWrite(t, f, "token:b")
}

// lockOut makes every wrong password one too many, and sees that an object which such a lockout
// protects is refused then.
func lockOut(t *testing.T, simulator *swtpmtest.TPM) {
	t.Helper()
	device, err := connect(limited(t), simulator.Place())
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	// TPM2_DictionaryAttackParameters by the lockout hierarchy, with no tries and long recovery
	const noTries = "8002" + "00000027" + "0000013a" + "4000000a" +
		"00000009" + "40000009" + "0000" + "00" + "0000" +
		"00000000" + "000003e8" + "000003e8"
	command, err := hex.DecodeString(noTries)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := device.Send(command)
	if err != nil || binary.BigEndian.Uint32(answer[6:10]) != 0 {
		t.Fatalf("%x, %v", answer, err)
	}
	root, err := createRoot(device)
	if err != nil {
		t.Fatal(err)
	}
	defer flush(device, root.ObjectHandle)
	parent := tpm2.AuthHandle{Handle: root.ObjectHandle, Name: root.Name,
		Auth: tpm2.PasswordAuth(nil)}
	whole := template()
	public, err := whole.Contents()
	if err != nil {
		t.Fatal(err)
	}
	public.ObjectAttributes.NoDA = false
	created, err := tpm2.Create{ParentHandle: parent, InPublic: tpm2.New2B(*public),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("x")}),
		}}}.Execute(device)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: created.OutPrivate,
		InPublic: created.OutPublic}.Execute(device)
	if err != nil {
		t.Fatal(err)
	}
	defer flush(device, loaded.ObjectHandle)
	_, err = tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: loaded.ObjectHandle,
		Name: loaded.Name, Auth: tpm2.PasswordAuth(nil)}}.Execute(device)
	if !errors.Is(err, tpm2.TPMRCLockout) {
		t.Fatalf("the TPM is not locked out: %v", err)
	}
}

// TestATPMOfOthersIsNotAllowed is about a device that only root can open.
func TestATPMOfOthersIsNotAllowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a device")
		return
	}
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tpmrm0")
	null := int(unix.Mkdev(1, 3))
	if err := errors.Join(os.Chmod(dir, 0o755), unix.Mknod(path, unix.S_IFCHR|0o600,
		null)); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // which ends with the goroutine
		_ = unix.Setfsuid(65534)
		_, err := connect(context.Background(), path)
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, ErrPermission) || !errors.Is(err, ErrUnavailable) ||
		!strings.Contains(err.Error(), "not allowed to use the TPM "+path) {
		t.Error(err)
	}
}

// proxy passes a simulator's commands on. answer can give another answer in its place; nil passes
// it on.
func proxy(t *testing.T, simulator *swtpmtest.TPM, answer func(command uint32) []byte) (place string) {
	t.Helper()
	path := simulator.Socket + ".proxy"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(conn, simulator.Socket, answer)
		}
	}()
	return "unix:" + path
}

func pass(conn net.Conn, simulator string, answer func(command uint32) []byte) {
	defer conn.Close()
	behind, err := connect(context.Background(), "unix:"+simulator)
	if err != nil {
		return
	}
	defer behind.Close()
	for buffer := make([]byte, maxAnswer); ; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if instead := answer(binary.BigEndian.Uint32(buffer[6:10])); instead != nil {
			_, _ = conn.Write(instead)
			continue
		}
		passed, err := behind.Send(buffer[:n])
		if err != nil {
			return
		}
		_, _ = conn.Write(passed)
	}
}

// response is the header of an answer without content.
func response(code tpm2.TPMRC) []byte {
	answer := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	answer = binary.BigEndian.AppendUint32(answer, 10)
	return binary.BigEndian.AppendUint32(answer, uint32(code))
}

func TestAnswersOfATPM(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	tests := map[string]struct {
		at     tpm2.TPMCC
		answer []byte
		words  string
	}{
		"locked out": {tpm2.TPMCCUnseal, response(tpm2.TPMRCLockout), "locked out"},
		"failed":     {tpm2.TPMCCCreatePrimary, response(tpm2.TPMRCFailure), "TPM_RC_FAILURE"},
		"an owner's password": {tpm2.TPMCCCreatePrimary, response(0x9a2),
			"hierarchy has a password"},
		"too long":  {tpm2.TPMCCLoad, []byte{0x80, 1, 0x7f, 0, 0, 0, 0, 0, 0, 0}, "2130706432 bytes"},
		"too short": {tpm2.TPMCCLoad, []byte{0x80, 1, 0, 0, 0, 2, 0, 0, 0, 0}, "2 bytes"},
		"empty":     {tpm2.TPMCCUnseal, response(tpm2.TPMRCSuccess), "TPM"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			place := proxy(t, simulator, func(command uint32) []byte {
				if command == uint32(test.at) {
					return test.answer
				}
				return nil
			})
			f.Sealer = OpenTPM(place)
			wantError(t, f, "token:a", ErrUnavailable, test.words)
		})
	}
}

// TestATPMThatNeverAnswersIsLeft also holds for one that is busy with somebody else.
func TestATPMThatNeverAnswersIsLeft(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	other, err := net.Dial("unix", simulator.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := f.Read(ctx, "token:a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, f, "token:a")
}

// TestNobodyFillsATPMUp leaves objects and sessions behind, as processes do that are killed.
func TestNobodyFillsATPMUp(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	for range 5 {
		device, err := connect(limited(t), simulator.Place())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = createRoot(device)
		_, _, _ = tpm2.HMACSession(device, tpm2.TPMAlgSHA256, 16)
		_ = device.Close()
	}
	wantValue(t, f, "token:a")
}

func TestFiftyReadersShareASimulator(t *testing.T) {
	simulator := startTPM(t)
	f := filesBy(t, OpenTPM(simulator.Place()))
	mustWrite(t, f, "token:a")
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { wantValue(t, f, "token:a") })
	}
	group.Wait()
}

// TestTheKeyDoesNotCrossTheWire listens between this process and the TPM.
func TestTheKeyDoesNotCrossTheWire(t *testing.T) {
	simulator := startTPM(t)
	listener, err := net.Listen("unix", simulator.Socket+".tap")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var heard safeBuffer
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go tap(conn, simulator.Socket, &heard)
		}
	}()
	sealer := OpenTPM("unix:" + simulator.Socket + ".tap")
	key := bytes.Repeat([]byte("key!"), keySize/4)
	sealed, err := sealer.Seal(limited(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := sealer.Unseal(limited(t), sealed); err != nil || !bytes.Equal(got, key) {
		t.Fatalf("%q, %v", got, err)
	}
	if data := heard.bytes(); len(data) < 500 || bytes.Contains(data, key) {
		t.Errorf("%d bytes were heard, the key among them: %v", len(data),
			bytes.Contains(data, key))
	}
}

type safeBuffer struct {
	mutex sync.Mutex
	data  []byte
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.data = append(b.data, p...)
	return len(p), nil
}

func (b *safeBuffer) bytes() []byte {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return slices.Clone(b.data)
}

func tap(conn net.Conn, simulator string, heard io.Writer) {
	defer conn.Close()
	behind, err := connect(context.Background(), "unix:"+simulator)
	if err != nil {
		return
	}
	defer behind.Close()
	wire := behind.(socket)
	go func() { _, _ = io.Copy(io.MultiWriter(conn, heard), wire) }()
	_, _ = io.Copy(io.MultiWriter(wire, heard), conn)
}

func TestWhereATPMCanBe(t *testing.T) {
	for place, isGood := range map[string]bool{"/dev/tpmrm0": true, "unix:/run/tpm": true,
		"": false, "unix:": false, "tpm": false, "unix:tpm": false, "/dev/../x": false,
		"/dev//tpm0": false, "tcp:/x": false, "unix:unix:/x": false, "/a\x00": false} {
		if err := CheckTPM(place); (err == nil) != isGood {
			t.Errorf("%q: %v", place, err)
		}
	}
}

// TestAWriteThatCannotSealLeavesNoDirectory also holds for those above.
func TestAWriteThatCannotSealLeavesNoDirectory(t *testing.T) {
	f := filesBy(t, OpenTPM("/nowhere"))
	f.CreateBase = func() error { t.Error("called"); return nil }
	if err := f.Write(limited(t), "token:a", "", nil); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Dir(f.Dir)); err == nil {
		t.Error("it is there")
	}
}
