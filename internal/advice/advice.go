// Package advice completes hints: what a hint leaves open in braces becomes a whole command, which
// can be typed as it is printed. It knows what a command was called with and what is on this
// machine, and neither errors nor exit codes.
package advice

import (
	"cmp"
	"errors"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Situation is what a command was at when it failed.
type Situation struct {
	Host      *host.Host
	Operation string   // the command's name
	Args      []string // of the process, the command's name among them
	Profile   string   // empty: the one that Args name, or that would be chosen
	Invite    string   // the command that invites this machine again; empty: it did not join
}

// Of is the situation of the one context that an error is about, when the command was for many, of
// the profile that a get has found, or of the machine that could not join.
func (s Situation) Of(err error) Situation {
	var found *call.FoundError
	if errors.As(err, &found) {
		s.Profile = found.Profile
	}
	var join *prepare.JoinError
	if errors.As(err, &join) {
		s.Profile, s.Invite = join.Profile.Name, prepare.InviteLine(join.Profile)
	}
	var one *prepare.ContextError
	if s.Host == nil || !errors.As(err, &one) {
		return s
	}
	s.Args = slices.DeleteFunc(s.words("--context"), func(arg string) bool {
		return arg == "--all-contexts"
	})
	s.Args = append(s.Args, "--context", one.Context)
	return s
}

// IsOwn reports whether what is on this machine is the user's and not a kubeconfig's: whoever wrote
// that could have a get print a command of his own making, for the user to type.
func (s Situation) IsOwn() bool {
	return s.Operation != "get" && !s.Host.CalledByClient() ||
		call.CheckOwnDir(s.host()) == nil
}

// host is this machine, as the command saw it.
func (s Situation) host() *host.Host {
	if s.Operation == "get" {
		return s.Host.ForGet()
	}
	return s.Host
}

// Own is the hint, which has what a profile says, where that is the user's.
func (s Situation) Own(hint string) string {
	if s.Host == nil || s.IsOwn() {
		return hint
	}
	return "remove HOME and XDG_CONFIG_HOME from env in the kubeconfig user's exec section"
}

// open is what a hint can leave open. Words behind the name are added to the command.
var open = regexp.MustCompile(`\{(\w+)((?: [^{}]+)?)\}`)

// Complete fills in what the hint leaves open:
//
//	{setup}        the setup that creates the profile's credentials anew; in setup the command
//	               itself, as it was typed
//	{again}        the command as it was typed
//	{invite}       the command with which an administrator has this machine join again
//	{move}         {setup} for a cluster whose address is another one now in the context that
//	               the profile was set up with
//	{elsewhere}    the command with which an administrator ends this machine from another
//	{store}        {setup}, with another store
//	{admin}        {again}, with the credentials of a context that can be an administrator's
//	{kubectl}      kubectl with the kubeconfig and context that the command was given
//	{config}       kubectl config with that kubeconfig
//	{program}      this program; {program token} with the profile, where it is known
//	{account}      {program devices}, with the account and namespace
//	{directory}    this program's configuration directory
//
// What cannot be completed in this situation is left out, from one "; " to the next.
func (s Situation) Complete(hint string) string {
	if s.Host == nil || !strings.Contains(hint, "{") {
		return hint
	}
	var parts []string
	for _, part := range strings.Split(hint, "; ") {
		complete := true
		part = open.ReplaceAllStringFunc(part, func(text string) string {
			match := open.FindStringSubmatch(text)
			line, ok := s.command(match[1], strings.Fields(match[2]))
			complete = complete && ok
			return line
		})
		if complete {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "run: " + ui.CommandLine(slices.DeleteFunc([]string{ui.Program, s.Operation,
			"--help"}, func(word string) bool { return word == "" })...)
	}
	return strings.Join(parts, "; ")
}

// command is what a name in braces stands for.
func (s Situation) command(name string, more []string) (line string, known bool) {
	switch name {
	case "setup":
		return s.setup(more)
	case "move":
		p, _ := s.known()
		return prepare.MoveLine(p)
	case "store":
		other, found := s.otherStore()
		switch {
		case !found:
			return "", false
		case s.Operation == "join":
			return s.Again("--store", string(other)), true
		}
		return s.withStore(append([]string{"--store", string(other)}, more...))
	case "invite":
		return s.Invite, s.Invite != ""
	case "elsewhere":
		p, known := s.known()
		return ui.CommandLine(ui.Program, "revoke", "--device", p.Setup.Machine,
				"--serviceaccount", p.ServiceAccount, "-n", p.Namespace),
			known && p.Setup.Machine != "" && s.Operation == "revoke"
	case "again":
		return s.Again(more...), true
	case "admin":
		context, file := s.administrator()
		return s.Again("--context", context, "--kubeconfig", file), context != ""
	case "kubectl":
		return ui.CommandLine(append(append([]string{"kubectl"},
			s.flags("--kubeconfig", "--context")...), more...)...), true
	case "config":
		return ui.CommandLine(slices.Concat([]string{"kubectl", "config"}, more,
			s.flags("--kubeconfig"))...), true
	case "program":
		return s.program(more)
	case "account":
		return s.account()
	case "directory":
		profiles, err := s.host().Profiles()
		return ui.CommandLine(filepath.Dir(string(profiles))), err == nil
	}
	return "", false
}

// Again is the command as it was typed, with other values for some flags.
func (s Situation) Again(flags ...string) string {
	return ui.CommandLine(slices.Concat([]string{ui.Program}, s.words(flags...), flags)...)
}

// With is the command as it was typed, with further values for flags that can be given repeatedly.
func (s Situation) With(flags ...string) string {
	return ui.CommandLine(slices.Concat([]string{ui.Program}, s.Args, flags)...)
}

// words are Args without some flags and their values.
func (s Situation) words(flags ...string) (line []string) {
	for i := 0; i < len(s.Args); i++ {
		name, _, joined := strings.Cut(s.Args[i], "=")
		if !strings.HasPrefix(name, "--") || !slices.Contains(flags, name) {
			line = append(line, s.Args[i])
		} else if !joined {
			i++ // its value
		}
	}
	return line
}

// setup is the whole command that creates the credentials of the profile anew, as far as anything
// on this machine tells.
func (s Situation) setup(more []string) (line string, known bool) {
	switch s.Operation {
	case "setup", "invite":
		return s.Again(more...), true
	case "join":
		return s.Invite, s.Invite != "" && len(more) == 0
	}
	p, known := s.known()
	if !known {
		return ui.CommandLine(ui.Program, "setup", "--help"), true
	}
	line = prepare.SetupLine(p)
	if len(more) > 0 {
		line += " " + ui.CommandLine(more...)
	}
	return line, true
}

// withStore is setup for another store. What only the old one needs is left out.
func (s Situation) withStore(flags []string) (line string, known bool) {
	if s.Operation == "setup" {
		s.Args = s.words("--tpm")
		return s.setup(flags)
	}
	p, known := s.known()
	if !known {
		return s.setup(flags)
	}
	p.Store, p.TPM = keyring.Keyring, ""
	return prepare.SetupLine(p) + " " + ui.CommandLine(flags...), true
}

// known is the profile, or what can be told of one that cannot be read.
func (s Situation) known() (p profile.Profile, known bool) {
	name := s.name()
	profiles, err := s.host().Profiles()
	if err != nil || !s.IsOwn() || profile.CheckName(name) != nil {
		return p, false
	}
	if p, err = profiles.Load(name); err == nil {
		return p, true
	}
	p = profiles.Salvage(name)
	return p, p.ServiceAccount != ""
}

// name is the profile that the command is about.
func (s Situation) name() string {
	name := cmp.Or(s.Profile, s.value("--profile"))
	if name == "" && s.Operation == "token" {
		name, _ = session.Choose(s.Host, "", s.value("--context"), s.value("--kubeconfig"))
	}
	return name
}

// otherStore is one that can be there when the one that was asked for is not. None is for those
// alone who have no bootstrap credential to keep.
func (s Situation) otherStore() (kind keyring.Kind, found bool) {
	p, _ := s.known()
	source, _, _ := strings.Cut(cmp.Or(s.value("--bootstrap"), string(p.Bootstrap.Source),
		string(profile.SourceKeyring)), "=")
	asked := cmp.Or(keyring.Kind(s.value("--store")), p.Store)
	switch {
	case runtime.GOOS == "linux" && asked != keyring.Kernel:
		return keyring.Kernel, true
	case source != string(profile.SourceKeyring):
		return keyring.None, true
	}
	return keyring.Auto, runtime.GOOS == "linux"
}

// notAdministered are the commands that take no administrator's context.
var notAdministered = []string{"get", "token", "kubeconfig", "doctor", "logout", "status", "forget",
	"join", "renew"}

// administrator is a context of the user's kubeconfig that is not of this program's making, and its
// file: the first that leads to the cluster that the command is about, or the only one there is.
func (s Situation) administrator() (context, file string) {
	paths, err := s.host().KubeconfigPaths("")
	if err != nil || slices.Contains(notAdministered, s.Operation) {
		return "", ""
	}
	names, err := prepare.Candidates(paths, nil)
	if err != nil {
		return "", ""
	}
	server := s.server(paths)
	names = slices.DeleteFunc(names, func(name string) bool {
		found, err := kubeconfig.Resolve(paths, name)
		return err != nil || server != "" && found.Cluster.Server != server
	})
	if len(names) == 0 || len(names) > 1 && server == "" {
		return "", ""
	}
	return names[0], kubeconfig.Target(paths)
}

// server is the cluster that the command is about: the profile's, or that of the context which
// setup has named after it, or of the current one. Empty: nobody knows.
func (s Situation) server(paths []string) string {
	name := s.name()
	if p, _ := s.known(); p.Cluster.Server != "" {
		return p.Cluster.Server
	}
	for _, context := range []string{name, ""} {
		if found, err := kubeconfig.Resolve(paths, context); err == nil {
			return found.Cluster.Server
		}
	}
	return ""
}

// program is a command of this one, with the profile where that is known.
func (s Situation) program(more []string) (line string, known bool) {
	line = ui.CommandLine(append([]string{ui.Program}, more...)...)
	name := s.name()
	if len(more) == 0 || name == "" || profile.CheckName(name) != nil {
		return line, true
	}
	return line + " " + ui.CommandLine("--profile", name), true
}

// account is the command that lists the devices of the account that the command is about.
func (s Situation) account() (line string, known bool) {
	account, namespace := s.value("--serviceaccount"), s.value("--namespace", "-n")
	if p, known := s.known(); account == "" && known {
		account, namespace = p.ServiceAccount, p.Namespace
	}
	if account == "" {
		return "", false
	}
	words := []string{ui.Program, "devices", account}
	if namespace != "" {
		words = append(words, "-n", namespace)
	}
	return ui.CommandLine(append(words, s.flags("--context", "--kubeconfig")...)...), true
}

// flags are those of Args with one of the names, with their values.
func (s Situation) flags(names ...string) (words []string) {
	for _, name := range names {
		if value := s.value(name); value != "" {
			words = append(words, name, value)
		}
	}
	return words
}

// value is that of a flag, by any of its names; of one given twice the last counts.
func (s Situation) value(names ...string) (value string) {
	for i, arg := range s.Args {
		for _, name := range names {
			if after, found := strings.CutPrefix(arg, name+"="); found {
				value = after
			} else if arg == name && i+1 < len(s.Args) {
				value = s.Args[i+1]
			}
		}
	}
	return value
}
