package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// staticKubeconfig is what people write who have a token in a file.
const staticKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

// kubectls are kubectl with a static token, and with the plugin in its place.
func (b *bench) kubectls() (subjects []*subject, err error) {
	output, err := b.plugin("token", "--profile", "kernel").Output()
	if err != nil {
		return nil, fmt.Errorf("asking for a token: %w", err)
	}
	path := filepath.Join(b.dir, "static")
	text := fmt.Sprintf(staticKubeconfig, b.plane.Server,
		base64.StdEncoding.EncodeToString([]byte(b.plane.CAPEM)),
		strings.TrimSpace(string(output)))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	kubectl := func(kubeconfig string, args ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			return exec.Command(filepath.Join("test", "bin", "kubectl"), append(args,
				"--kubeconfig", kubeconfig, "get", "--raw", "/version")...)
		}
	}
	subjects = []*subject{{name: static, command: kubectl(path)}}
	for _, profile := range stores {
		subjects = append(subjects, &subject{name: kubectlOf(profile),
			command: kubectl(filepath.Join(b.dir, "kubeconfig"), "--context", profile)})
	}
	return subjects, nil
}
