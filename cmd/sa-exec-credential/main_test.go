//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		ui.Program:                   main,
		"kubectl-sa_exec_credential": main, // as krew calls it
		"client":                     clientMain,
	})
}

// TestScripts runs every command as a process of its own against a server that answers as each
// script wishes.
func TestScripts(t *testing.T) {
	issued := &issuedTokens{}
	work := t.TempDir()
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir:                 filepath.Join("testdata", "script"),
			WorkdirRoot:         work,
			TestWork:            true, // kept for the scan below; the test removes it
			RequireExplicitExec: true,
			Setup: func(env *testscript.Env) error {
				return setUp(env,
					issued)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"server":    serverCommand,
				"profile":   profileCommand,
				"bootstrap": bootstrapCommand,
				"requests":  requestsCommand,
				"mode":      modeCommand,
				"umask0":    umaskCommand,
			},
		})
	})
	scan(t, work, issued)
}

// setUp gives a script a home of its own, a server and the store that this system has.
func setUp(env *testscript.Env, issued *issuedTokens) error {
	home := filepath.Join(env.WorkDir, "home")
	for _, folder := range []string{home, filepath.Join(env.WorkDir, "run")} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	env.Setenv("XDG_CACHE_HOME", filepath.Join(home, ".cache"))
	env.Setenv("XDG_RUNTIME_DIR", filepath.Join(env.WorkDir, "run"))
	env.Setenv("STORE", string(keyring.None))
	if runtime.GOOS == "linux" {
		env.Setenv("STORE", string(keyring.Kernel))
	}
	server, err := startServer(env, issued)
	if err != nil {
		return err
	}
	env.Values["server"] = server
	env.Setenv("SERVER", server.URL)
	for name, data := range map[string][]byte{"cluster.json": server.clusterInfo(),
		"ca.pem": server.ca()} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// scan looks for every token that the servers gave out, and its signature, in all that the
// scripts left: what they printed is kept by the client in files too.
func scan(t *testing.T, work string, issued *issuedTokens) {
	tokens := issued.list()
	if len(tokens) == 0 {
		t.Error("no token was given out")
	}
	err := filepath.WalkDir(work, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path,
			resultSuffix) {
			return err
		}
		data, err := os.ReadFile(path)
		for _, token := range tokens {
			if strings.Contains(string(data), token) || strings.Contains(string(data),
				token[strings.LastIndex(token, ".")+1:]) {
				t.Errorf("%s holds a token", strings.TrimPrefix(path, work))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
