// Package manual writes the manual pages from the grammar of the command line, so that they say what
// --help says: one page for the program, and one for each command. It runs nothing.
package manual

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/build"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const home = "https://github.com/sa-exec-credential/sa-exec-credential"

// Page is that of a command, or of the program where the command has no name. An unknown one is a
// ui.ErrUsage.
func Page(program *kong.Node, command string) ([]byte, error) {
	if command == "" {
		return programPage(program), nil
	}
	i := slices.IndexFunc(program.Children, func(child *kong.Node) bool {
		return child.Name == command && !child.Hidden
	})
	if i < 0 {
		return nil, ui.Usagef("there is no command %q", command)
	}
	return commandPage(program, program.Children[i]), nil
}

// pageName is what man finds a command's page by, as it does git's.
func pageName(command string) string { return ui.Program + "-" + command }

func programPage(program *kong.Node) []byte {
	var p page
	p.title(ui.Program, "mint short-lived ServiceAccount tokens for kubectl")
	p.synopsis(ui.Program, "COMMAND [flags]")
	p.section("DESCRIPTION")
	p.text(program.Help)
	p.section("COMMANDS")
	var others []string
	for _, command := range program.Children {
		if !command.Hidden {
			p.item(bold(command.Name), command.Help)
			others = append(others, pageName(command.Name))
		}
	}
	p.section("OPTIONS")
	p.flags(program.Flags)
	p.section("EXIT STATUS")
	for _, status := range exitStatus {
		p.item(bold(status.name), status.text)
	}
	p.paragraph("A failure is one line that begins with error: and one with hint: on standard " +
		"error, and nothing on standard output.")
	p.section("ENVIRONMENT")
	for _, variable := range environment {
		p.item(bold(variable.name), variable.text)
	}
	p.section("FILES")
	for _, file := range places {
		p.item(italic(file.name), file.text)
	}
	p.examples(ui.Program)
	p.seeAlso(append(others, "kubectl"))
	return p.end()
}

func commandPage(program, command *kong.Node) []byte {
	var p page
	p.title(pageName(command.Name), uncapitalized(strings.TrimSuffix(command.Help, ".")))
	words := []string{}
	for _, argument := range command.Positional {
		words = append(words, argument.Summary())
	}
	p.synopsis(ui.Program+" "+command.Name, strings.Join(append(words, "[flags]"), " "))
	p.section("DESCRIPTION")
	p.text(command.Help)
	for _, argument := range command.Positional {
		p.item(italic(argument.Summary()), argument.Help)
	}
	p.section("OPTIONS")
	p.flags(command.Flags)
	p.subsection("Of all commands")
	p.flags(program.Flags)
	p.examples(command.Name)
	p.seeAlso([]string{ui.Program})
	return p.end()
}

// flags lists them in the groups that the help has.
func (p *page) flags(flags []*kong.Flag) {
	group := ""
	for _, flag := range flags {
		if flag.Hidden {
			continue
		}
		if flag.Group != nil && flag.Group.Title != group {
			group = flag.Group.Title
			p.subsection(strings.TrimSuffix(group, ":"))
		}
		p.item(spelled(flag), help(flag))
	}
}

// spelled is a flag with all of its forms.
func spelled(flag *kong.Flag) string {
	name := "--" + flag.Name
	if flag.IsBool() && flag.Tag.Negatable != "" {
		name = "--[no-]" + flag.Name
	}
	line := bold(name)
	if flag.Short != 0 {
		line = bold("-"+string(flag.Short)) + ", " + line
	}
	if flag.IsBool() {
		return line
	}
	value := cmp.Or(flag.PlaceHolder, strings.ToUpper(flag.Name))
	if flag.IsSlice() && flag.Tag.Sep != -1 {
		value += ",..."
	}
	return line + "=" + italic(value)
}

// help has the default where the grammar knows it and the text does not say it.
func help(flag *kong.Flag) string {
	if flag.IsBool() || flag.Default == "" || strings.Contains(flag.Help, "default") {
		return flag.Help
	}
	return fmt.Sprintf("%s (default: %s).", strings.TrimSuffix(flag.Help, "."), flag.Default)
}

func uncapitalized(text string) string { return strings.ToLower(text[:1]) + text[1:] }

// footer is the version and the day of what was built, where they are known.
func footer() (day, version string) {
	info := build.Current()
	day, _, _ = strings.Cut(info.Date, "T")
	return day, ui.Program + " " + info.Version
}
