package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// stores are those that are measured, and what their profiles are called.
var stores = []string{"keyring", "kernel"}

// What is measured is called, where a goal names it.
const (
	hello    = "a Go program that prints {}"
	curlName = "one TokenRequest by curl"
	static   = "kubectl get --raw /version, static token"
)

func hitOf(profile string) string  { return "get, hit, store " + profile }
func missOf(profile string) string { return "get, miss, store " + profile }

func kubectlOf(profile string) string { return "kubectl get --raw /version, " + profile }

// goal bounds what a program may cost by a floor of the same run: as its multiple, or as so many
// milliseconds more.
type goal struct {
	name, floor string
	times       float64
	more        time.Duration
}

// goals are of an idle machine: a busy one hides what a program itself costs.
var goals = []goal{
	{name: hitOf("keyring"), floor: hello, times: 2},
	{name: hitOf("kernel"), floor: hello, times: 2},
	{name: hitOf("keyring"), floor: kubeloginName, times: 0.5},
	{name: missOf("keyring"), floor: curlName, times: 1.15},
	{name: missOf("kernel"), floor: curlName, times: 1.15},
	{name: kubectlOf("keyring"), floor: static, more: 4 * time.Millisecond},
	{name: foundOf(many), floor: namedOf(many), times: 1.1},
	{name: foundOf(many), floor: foundOf(1), times: 1.1},
}

func (g goal) print(medians map[string]time.Duration) {
	is, floor := medians[g.name], medians[g.floor]
	if floor == 0 {
		fmt.Printf("%s / %s: not measured\n", g.name, g.floor)
		return
	}
	if g.times > 0 {
		verdict(g.name+" / "+g.floor, float64(is)/float64(floor), g.times, "times")
		return
	}
	verdict(g.name+" - "+g.floor, ms(is-floor), ms(g.more), "ms")
}

// verdict prints a goal beside its figure.
func verdict(what string, is, goal float64, unit string) {
	word := "met"
	if is > goal {
		word = "MISSED"
	}
	fmt.Printf("%s: goal %.2f %s, is %.2f: %s\n", what, goal, unit, is, word)
}

// maxSize bounds the stripped program, in megabytes.
const maxSize = 15

// size prints how large the programs are.
func (b *bench) size() error {
	for _, name := range []string{program, quick} {
		info, err := os.Stat(filepath.Join(b.bin, name))
		if err != nil {
			return err
		}
		verdict(name+", stripped", float64(info.Size())/1e6, maxSize, "MB")
	}
	return nil
}
