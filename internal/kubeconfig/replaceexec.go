package kubeconfig

import (
	"fmt"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// ReplaceExec gives a user of a file the entry's exec section in the place of what it has; the rest
// of it stays. A user for all clusters names no profile. A user that is not there, or in a form that
// is not edited, is a yamledit.ErrUnsupported, and nothing is changed.
func ReplaceExec(path, user string, entry Entry, forAll bool) error {
	source, err := entry.fill()
	if err != nil {
		return err
	}
	yamledit.StripComments(source)
	section := execSection(source.Content[0])
	if forAll {
		args := yamledit.Field(section, "args")
		args.Content = []*yaml.Node{yamledit.NewText("get")}
	}
	_, err = edit([]string{path}, func(c *configs) error {
		f, item := c.find(users, user)
		body := yamledit.At(item, "user")
		if f == nil || body == nil || body.Kind != yaml.MappingNode ||
			yamledit.Field(body, "<<") != nil {
			return fmt.Errorf("%w: %q: user %q", yamledit.ErrUnsupported, path, user)
		}
		f.Touch(users, user)
		yamledit.SetField(body, "exec", section)
		return nil
	})
	return err
}
