package profile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Minters are who may mint as a device beside the machine itself, as the API server calls them.
type Minters struct {
	Users  []string `yaml:"users,omitempty" json:"users,omitempty"`
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty"`
	// service accounts, as NAMESPACE/NAME
	Accounts []string `yaml:"accounts,omitempty" json:"accounts,omitempty"`
}

// accountPrefix begins the user name of a service account.
const accountPrefix = "system:serviceaccount:"

// MinterCalled are the minters of whom there is one, by the name of a user.
func MinterCalled(user string) Minters {
	account, found := strings.CutPrefix(user, accountPrefix)
	if namespace, name, whole := strings.Cut(account, ":"); found && whole {
		return Minters{Accounts: []string{namespace + "/" + name}}
	}
	return Minters{Users: []string{user}}
}

// IsEmpty reports whether there are none.
func (m Minters) IsEmpty() bool { return len(m.Users)+len(m.Groups)+len(m.Accounts) == 0 }

// And are those of both, sorted, each once.
func (m Minters) And(other Minters) Minters {
	both := func(a, b []string) []string {
		all := slices.Concat(a, b)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return Minters{Users: both(m.Users, other.Users), Groups: both(m.Groups, other.Groups),
		Accounts: both(m.Accounts, other.Accounts)}
}

// Covers reports whether all of others are among them.
func (m Minters) Covers(others Minters) bool {
	has := func(list, some []string) bool {
		isMissing := func(one string) bool { return !slices.Contains(list, one) }
		return !slices.ContainsFunc(some, isMissing)
	}
	return has(m.Users, others.Users) && has(m.Groups, others.Groups) &&
		has(m.Accounts, others.Accounts)
}

// Flags are those of setup and invite that name them.
func (m Minters) Flags() (flags []string) {
	for _, list := range []struct {
		flag  string
		names []string
	}{{"--minter-user", m.Users}, {"--minter-group", m.Groups}, {"--minter", m.Accounts}} {
		for _, name := range list.names {
			flags = append(flags, list.flag, name)
		}
	}
	return flags
}

// Names are for people: user "alice", group "ci", account "ci/runner".
func (m Minters) Names() (names []string) {
	for _, list := range []struct {
		kind  string
		names []string
	}{{"user", m.Users}, {"group", m.Groups}, {"account", m.Accounts}} {
		for _, name := range list.names {
			names = append(names, fmt.Sprintf("%s %q", list.kind, name))
		}
	}
	return names
}

// everybody are groups of whom nobody can say who is in them.
var everybody = []string{"system:authenticated", "system:unauthenticated",
	"system:serviceaccounts"}

// CheckFor is an error for minters that would let everybody mint for an account of a namespace, or
// let a token of the account mint the next one: then none would ever expire.
func (m Minters) CheckFor(namespace, account string) error {
	for _, name := range slices.Concat(m.Users, m.Groups, m.Accounts) {
		if name == "" || name == "*" || strings.ContainsFunc(name, unicode.IsControl) {
			return fmt.Errorf("invalid minter %q: must be the name of one user, group or "+
				"account", name)
		}
	}
	for _, user := range m.Users {
		if user == "system:anonymous" {
			return fmt.Errorf("invalid minter %q: everybody is that", user)
		}
		if strings.HasPrefix(user, accountPrefix) {
			return fmt.Errorf("invalid minter %q: name a service account as "+
				"NAMESPACE/NAME", user)
		}
	}
	for _, group := range m.Groups {
		switch {
		case slices.Contains(everybody, group):
			return fmt.Errorf("invalid minter group %q: everybody is in it", group)
		case group == "system:masters":
			return fmt.Errorf("invalid minter group %q: who is in it may do everything "+
				"already", group)
		case group == "system:serviceaccounts:"+namespace:
			return fmt.Errorf("invalid minter group %q: the account itself is in it, "+
				"and its tokens would mint the next ones", group)
		}
	}
	for _, name := range m.Accounts {
		if err := checkMinterAccount(name, namespace, account); err != nil {
			return err
		}
	}
	return nil
}

func checkMinterAccount(text, namespace, account string) error {
	in, name, found := strings.Cut(text, "/")
	if !found || CheckNamespace(in) != nil || CheckServiceAccount(name) != nil {
		return fmt.Errorf("invalid minter %q: must be NAMESPACE/NAME of a service account",
			text)
	}
	if in == namespace && (name == account || strings.HasPrefix(name, account+"-device-")) {
		return errors.New("the account itself cannot be its minter: its tokens would " +
			"mint the next ones")
	}
	return nil
}
