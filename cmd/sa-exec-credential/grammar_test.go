package main

import (
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/commandline"
)

func TestEveryCommandCanRunAndIsCheckedWhole(t *testing.T) {
	parser, err := kong.New(&grammar{})
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range commandline.Check(parser.Model.Node) {
		t.Error(problem)
	}
	for _, child := range parser.Model.Children {
		if _, runs := child.Target.Addr().Interface().(command); !runs {
			t.Errorf("%s has no Run", child.Name)
		}
	}
}
