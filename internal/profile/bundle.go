package profile

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// ErrBundle is a bundle of certificate authorities that holds something else than certificates.
var ErrBundle = errors.New("the certificate authority bundle")

// blockBegin is where a PEM block begins.
var blockBegin = []byte("-----BEGIN")

const blockType = "CERTIFICATE"

// digestCA hashes the certificates themselves, so that order, repetition and comments between them
// do not matter. Anything else in the bundle is refused: what one TLS library passes over, another
// may trust.
func digestCA(bundle []byte) (string, error) {
	if len(bundle) == 0 {
		return "", nil
	}
	blocks := certificates(bundle)
	if len(blocks) == 0 || bytes.Count(bundle, blockBegin) != len(blocks) {
		err := blockProblem(bundle)
		if err == nil { // only what is between the blocks can be it
			err = fmt.Errorf("%w: %w holds a malformed block", ErrCluster, ErrBundle)
		}
		return "", err
	}
	hash := sha256.New()
	for _, sum := range sums(blocks) {
		hash.Write(sum[:])
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// certificates are the blocks of a bundle up to one that is no certificate.
func certificates(bundle []byte) (blocks []*pem.Block) {
	block, rest := pem.Decode(bundle)
	for isCertificate(block) {
		blocks = append(blocks, block)
		block, rest = pem.Decode(rest)
	}
	return blocks
}

func isCertificate(block *pem.Block) bool {
	return block != nil && block.Type == blockType && len(block.Headers) == 0
}

// sums are the hashes of certificates, sorted and each once.
func sums(blocks []*pem.Block) (all [][32]byte) {
	for _, block := range blocks {
		all = append(all, sha256.Sum256(block.Bytes))
	}
	slices.SortFunc(all, func(a, b [32]byte) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

// holdsAll reports whether every certificate of part is in bundle.
func holdsAll(bundle, part []byte) bool {
	all := sums(certificates(bundle))
	for _, sum := range sums(certificates(part)) {
		if !slices.Contains(all, sum) {
			return false
		}
	}
	return true
}

// CheckBundle makes sure that every certificate of a bundle can be used, and otherwise is an
// ErrBundle that says which cannot. It is for setup; to tell bundles apart the bytes are enough,
// and parsing takes time that every kubectl call would wait for.
func CheckBundle(bundle []byte) error {
	if len(bundle) == 0 {
		return nil
	}
	return blockProblem(bundle)
}

// blockProblem names the first block that is no certificate, by its number and its line. Nothing
// of what is in it is told.
func blockProblem(bundle []byte) error {
	count := bytes.Count(bundle, blockBegin)
	if count == 0 {
		return fmt.Errorf("%w: %w holds no certificate", ErrCluster, ErrBundle)
	}
	for number, at := 1, bytes.Index(bundle, blockBegin); number <= count; number++ {
		end := len(bundle)
		if next := bytes.Index(bundle[at+1:], blockBegin); next >= 0 {
			end = at + 1 + next
		}
		if problem := problemOf(bundle, at, end); problem != "" {
			return fmt.Errorf("%w: %w holds %s: number %d of %d, at line %d",
				ErrCluster, ErrBundle, problem, number, count,
				1+bytes.Count(bundle[:at], []byte("\n")))
		}
		at = end
	}
	return nil
}

func problemOf(bundle []byte, at, end int) string {
	block, _ := pem.Decode(bundle[at:end])
	switch {
	case block == nil, at > 0 && bundle[at-1] != '\n':
		return "a malformed block"
	case !isCertificate(block):
		return fmt.Sprintf("a %q block", block.Type)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return "a malformed certificate"
	}
	return ""
}
