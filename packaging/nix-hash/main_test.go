package main

import (
	"crypto/sha256"
	"testing"
)

// TestBase32 compares with what nix-hash 2.8 has printed.
func TestBase32(t *testing.T) {
	for content, want := range map[string]string{
		"":       "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
		"test\n": "1lkgqb6fclns49861dwk9rzb6xnfkxbpws74mxnx01z9qyv1pjpj",
	} {
		if got := base32(sha256.Sum256([]byte(content))); got != want {
			t.Errorf("%q has %s and not %s", content, got, want)
		}
	}
}
