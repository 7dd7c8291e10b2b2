package bootstrap

import (
	"context"
	"fmt"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// fromCommand takes the token that a command prints. The user agreed to the command at setup, and
// it gets the environment of then.
func fromCommand(ctx context.Context, b profile.Bootstrap, within string) (secret.String, error) {
	command := program{path: b.Command[0], args: b.Command[1:], env: append(Environment(b),
		within),
		limit: secret.MaxToken + 1}
	output, err := command.run(ctx)
	if err != nil {
		return secret.String{}, fmt.Errorf("%w: %w", ErrSource, err)
	}
	return clean(output, fmt.Sprintf("the output of %q", command.path))
}

// Environment is what programs that a bootstrap source runs get to see: what the profile holds and
// nothing of this process's own, which the calling kubeconfig may have forged.
func Environment(b profile.Bootstrap) []string {
	list := make([]string, 0, len(b.Environment))
	for name, value := range b.Environment {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
