// Package commandline reads what was typed by a grammar of kong.
//
// It takes kong's steps one by one. kong's own Parse and Run look methods up by names that the linker
// cannot know, which keeps every method of every type in the program: 4 of its 18 MB
// (https://github.com/alecthomas/kong/issues/547). So hooks are not called, and of tags those are
// known that the grammar uses; see Check.
package commandline

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// Parse sets the grammar's fields. asked is the first of the flags in place that was typed: one that
// is answered in place of the command, such as help, so that nothing else has to be right.
func Parse(parser *kong.Kong, args []string, inPlace ...string) (parsed *kong.Context, asked string,
	err error) {
	parsed, err = kong.Trace(parser, args)
	if err == nil {
		err = parsed.Error
	}
	if err != nil {
		return nil, "", plain(err)
	}
	for _, step := range parsed.Path {
		if step.Flag != nil && slices.Contains(inPlace, step.Flag.Name) {
			return parsed, step.Flag.Name, nil
		}
	}
	if err := parsed.Reset(); err != nil {
		return nil, "", err
	}
	if _, err := parsed.Apply(); err != nil {
		return nil, "", err
	}
	return parsed, "", validate(parsed)
}

// plain says what is wrong with the value of a flag. kong speaks of tokens, types and its own
// parsers, in errors that have no type.
func plain(err error) error {
	flag, problem, _ := strings.Cut(err.Error(), ": ")
	about, got, _ := strings.Cut(problem, " but got ")
	value, _ := strconv.QuotedPrefix(got)
	switch {
	case strings.HasPrefix(problem, "missing value"), strings.HasSuffix(got, "(<EOL>)"):
		return fmt.Errorf("%s needs a value", flag)
	case strings.HasPrefix(about, "expected ") && strings.HasSuffix(about, " value"):
		return fmt.Errorf("%s needs a value, and %s is a flag: %s=%s would make it one", flag,
			value, flag, value)
	case about == "expected duration":
		return fmt.Errorf("%s must be a duration, such as 90m or 720h, not %s", flag, value)
	case strings.HasPrefix(about, "bool value must be "):
		return fmt.Errorf("%s must be true or false, not %s", flag, value)
	}
	return err
}

// validate says what a command line lacks, or has too much of.
func validate(parsed *kong.Context) error {
	for _, step := range parsed.Path {
		if node := step.Node(); node != nil {
			for _, value := range node.Values() {
				if err := checkEnum(value); err != nil {
					return err
				}
			}
		}
		if err := checkRequired(step.Flags); err != nil {
			return err
		}
	}
	node := parsed.Selected()
	if node == nil {
		node = parsed.Model.Node
	}
	if err := checkComplete(node); err != nil {
		return err
	}
	for _, step := range parsed.Path {
		if err := checkAlone(step.Flags); err != nil {
			return err
		}
	}
	return nil
}

func checkEnum(value *kong.Value) error {
	if value.Enum == "" || value.Required && !value.Set {
		return nil
	}
	given, allowed := value.Target.String(), value.EnumSlice()
	if slices.Contains(allowed, given) {
		return nil
	}
	allowed = slices.DeleteFunc(allowed, func(one string) bool { return one == "" }) // not given
	return fmt.Errorf("%s must be one of %s, not %q", value.ShortSummary(),
		strings.Join(allowed, ", "), given)
}

// checkRequired wants every required flag, and of those that exclude one another any.
func checkRequired(flags []*kong.Flag) error {
	var missing []string
	groups := map[string][]string{}
	isSet := map[string]bool{}
	for _, flag := range flags {
		group := strings.Join(flag.Xor, ",")
		switch {
		case flag.Set:
			isSet[group] = true
		case !flag.Required:
		case group == "":
			missing = append(missing, flag.Summary())
		default:
			groups[group] = append(groups[group], flag.Summary())
		}
	}
	for group, summaries := range groups {
		if !isSet[group] {
			missing = append(missing, strings.Join(summaries, " or "))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("missing flags: %s", strings.Join(missing, ", "))
}

// checkComplete wants every argument that is required, and a command.
func checkComplete(node *kong.Node) error {
	var missing []string
	for _, argument := range node.Positional {
		if argument.Required && !argument.Set {
			missing = append(missing, argument.Summary())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("expected %q", strings.Join(missing, " "))
	}
	for _, child := range node.Children {
		if !child.Hidden {
			missing = append(missing, strconv.Quote(child.Name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	const enough = 5
	if len(missing) > enough {
		missing = append(missing[:enough], "...")
	}
	return fmt.Errorf("expected one of %s", strings.Join(missing, ", "))
}

// checkAlone wants no two flags that exclude each other.
func checkAlone(flags []*kong.Flag) error {
	seen := map[string]*kong.Flag{}
	for _, flag := range flags {
		if !flag.Set {
			continue
		}
		for _, group := range flag.Xor {
			if other := seen[group]; other != nil {
				return fmt.Errorf("--%s and --%s can't be used together", other.Name, flag.Name)
			}
			seen[group] = flag
		}
	}
	return nil
}

// Check says what a grammar has that Parse passes over, for tests.
func Check(node *kong.Node) (problems []string) {
	for _, flag := range node.Flags {
		if len(flag.And) > 0 || len(flag.LastWins) > 0 || len(flag.Envs) > 0 || len(flag.Xor) > 1 {
			problems = append(problems, fmt.Sprintf("--%s has and, lastwins, env or several xor",
				flag.Name))
		}
	}
	for _, value := range node.Values() {
		if value.Enum != "" && value.Target.Kind() != reflect.String {
			problems = append(problems, fmt.Sprintf("%s is no string and has an enum",
				value.Summary()))
		}
	}
	for _, child := range node.Children {
		problems = append(problems, Check(child)...)
	}
	return problems
}
