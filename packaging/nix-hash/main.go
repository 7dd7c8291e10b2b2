// Command nix-hash prints a file's SHA-256 as nix writes it, to whoever asks as GoReleaser does: with
// --type sha256 --flat --base32. So a release needs no nix.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
)

// digits are nix's: without e, o, u and t, which make words.
const digits = "0123456789abcdfghijklmnpqrsvwxyz"

var asked = []string{"--type", "sha256", "--flat", "--base32"}

func main() {
	last := len(os.Args) - 1
	if last < 1 || !slices.Equal(os.Args[1:last], asked) {
		fmt.Fprintln(os.Stderr, "usage: nix-hash", strings.Join(asked, " "), "FILE")
		os.Exit(2)
	}
	data, err := os.ReadFile(os.Args[last])
	if err != nil {
		fmt.Fprintln(os.Stderr, "nix-hash:", err)
		os.Exit(1)
	}
	fmt.Println(base32(sha256.Sum256(data)))
}

// base32 writes five bits a digit, those of the last byte first, as nix's printHash32 does. The
// standard library's begins with the first.
func base32(digest [sha256.Size]byte) string {
	const bits = 5
	text := make([]byte, 0, (len(digest)*8+bits-1)/bits)
	for n := cap(text) - 1; n >= 0; n-- {
		at, shift := n*bits/8, n*bits%8
		pair := uint16(digest[at])
		if at+1 < len(digest) {
			pair |= uint16(digest[at+1]) << 8
		}
		text = append(text, digits[pair>>shift&(1<<bits-1)])
	}
	return string(text)
}
