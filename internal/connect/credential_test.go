//go:build unix

package connect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// TestACredentialThatCannotBeObtained has client-go fail to get one, and say why without what it got.
func TestACredentialThatCannotBeObtained(t *testing.T) {
	const secret = "eyJhbGciOiJSUzI1NiIs"
	dir := t.TempDir()
	program := func(name, script string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct{ name, command, says string }{
		{"a plugin that fails", program("fails", "exit 7", 0o700),
			filepath.Join(dir, "fails") + " failed with exit code 7"},
		{"a plugin that is missing", filepath.Join(dir, "missing"), "missing: no such file"},
		{"a plugin that cannot be run", program("data", "", 0o600), "permission denied"},
		{"a plugin that prints something else", program("odd", `echo '{"apiVersion": `+
			`"client.authentication.k8s.io/v1", "kind": "exec: `+secret+`"}'`, 0o700),
			"what its credential plugin or token file holds makes no sense"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := &rest.Config{Host: "https://127.0.0.1:1",
				ExecProvider: &clientcmdapi.ExecConfig{Command: test.command,
					APIVersion:      "client.authentication.k8s.io/v1",
					InteractiveMode: clientcmdapi.NeverExecInteractiveMode}}
			client, err := To(config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Get(t.Context(), "/x", "", nil)
			if !errors.Is(err, api.ErrCredential) || !strings.Contains(err.Error(), test.says) ||
				strings.Contains(err.Error(), secret) {
				t.Errorf("%v does not say %q", err, test.says)
			}
		})
	}
}
