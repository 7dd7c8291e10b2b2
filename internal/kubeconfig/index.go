package kubeconfig

import (
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// index finds items by name while entries are merged: to look at all items for each of a thousand
// entries would take seconds.
type index struct {
	items    map[string]map[string]part // by list and name, those that clients use
	contexts map[string][]string        // of setup's, by profile
}

func (c *configs) newIndex() *index {
	i := &index{items: map[string]map[string]part{}, contexts: map[string][]string{}}
	for list := range itemField {
		i.items[list] = c.itemsByName(list)
	}
	for _, p := range c.all(contexts) {
		user := yamledit.Text(p.item, "context", "user")
		profile := profileOfUser(yamledit.At(i.items[users][user].item, itemField[users]))
		if strings.HasPrefix(user, profile+"-") {
			i.note(profile, p.name())
		}
	}
	return i
}

// itemsByName has the first item of a name.
func (c *configs) itemsByName(list string) map[string]part {
	items := map[string]part{}
	for _, p := range c.all(list) {
		_, found := items[p.name()]
		if !found && yamledit.At(p.item, "name") != nil {
			p.item = yamledit.Deref(p.item)
			items[p.name()] = p
		}
	}
	return items
}

// note adds a context of setup's, which is of a profile.
func (i *index) note(profile, context string) {
	i.contexts[profile] = append(i.contexts[profile], context)
}
