//go:build linux

// Command hints fails when tests have made the program print something to type that no test has
// typed. Its argument is the directory where all packages' tests have left their notes.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// excused are kinds of hints that no test can type with success, and why.
var excused = map[string]string{
	`network, VPN or proxy: curl$`:               "tries once more what has just failed, to show where",
	`^to try it: kubectl get$`:                   "so does this",
	`^if you own a cluster of GKE, `:             "asks Google's own program for the user's name",
	`^The cluster is ready\. Next, in the pod: `: "is typed in a pod, with a file of its own",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: hints DIRECTORY")
		os.Exit(2)
	}
	left, told, err := untyped(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "hints:", err)
		os.Exit(1)
	}
	for _, kind := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(os.Stderr, "no test has typed this: %s\n\tas in: %s\n", kind, left[kind])
	}
	fmt.Printf("of %d kinds of hints that the tests were given, %d were not typed\n", told,
		len(left))
	if len(left) > 0 || told == 0 {
		os.Exit(1)
	}
}

// untyped are the kinds that were told and never typed, each with an example.
func untyped(dir string) (left map[string]string, told int, err error) {
	left = map[string]string{}
	err = eachLine(dir, "*.told", func(line string) {
		kind, example, _ := strings.Cut(line, "\t")
		left[kind] = example
	})
	told = len(left)
	for pattern := range excused {
		maps.DeleteFunc(left, func(kind, _ string) bool {
			return regexp.MustCompile(pattern).MatchString(kind)
		})
	}
	if err == nil {
		err = eachLine(dir, "*.typed", func(kind string) { delete(left, kind) })
	}
	return left, told, err
}

// eachLine calls do with each line of the files that match.
func eachLine(dir, pattern string, do func(line string)) error {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			do(strings.TrimSuffix(line, "\n"))
		}
	}
	return nil
}
