package bootstrap

import (
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// fromVariable reads an environment variable. A kubeconfig may have set it; then the API server
// refuses what it holds, or somebody has given away a token of their own.
func fromVariable(name string, getenv func(string) string) (secret.String, error) {
	return clean(getenv(name), fmt.Sprintf("environment variable %q", name))
}
