package profile

import (
	"encoding/pem"
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestBundlesAreNamedByTheirBadPart(t *testing.T) {
	good := string(certificate(t))
	lines := strings.Count(good, "\n")
	junk := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("c0nt3nt")}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("c0nt3nt")}))
	at := func(line int) string { return ", at line " + strconv.Itoa(line) }
	tests := []struct{ name, bundle, says string }{
		{"none is the system's", "", ""},
		{"good ones", good + good, ""},
		{"comments between them", "# one\n" + good + "\nsubject: x\n" + good, ""},
		{"lines of Windows", strings.ReplaceAll(good+good, "\n", "\r\n"), ""},
		{"no certificate at all", "hello", "holds no certificate"},
		{"the third of four", good + good + junk + good,
			"holds a malformed certificate: number 3 of 4" + at(2*lines+1)},
		{"the first, after a comment", "# one\n\n" + junk + good,
			"holds a malformed certificate: number 1 of 2" + at(3)},
		{"a key", good + key, `holds a "PRIVATE KEY" block: number 2 of 2` + at(lines+1)},
		{"one cut off", good + good[:len(good)/2] + "\n" + good,
			"holds a malformed block: number 2 of 3" + at(lines+1)},
		{"one that is not base64", good + strings.Replace(good, "MI", "!!", 1),
			"holds a malformed block: number 2 of 2" + at(lines+1)},
		{"one in the middle of a line", good + "x" + good,
			"holds a malformed block: number 2 of 2" + at(lines+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckBundle([]byte(tt.bundle))
			if tt.says == "" && err == nil {
				return
			}
			if !errors.Is(err, ErrBundle) || !errors.Is(err, ErrCluster) ||
				!strings.HasSuffix(err.Error(), tt.says) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "c0nt3nt") {
				t.Error("what is in it is shown")
			}
			_, err = digestCA([]byte(tt.bundle))
			if notX509 := !strings.Contains(tt.says, "malformed certificate"); notX509 &&
				(err == nil || !strings.HasSuffix(err.Error(), tt.says)) {
				t.Errorf("the digest's error %v, want %q", err, tt.says)
			}
		})
	}
}

func TestDifferenceWithin(t *testing.T) {
	one, two, three := string(certificate(t)), string(certificate(t)), string(certificate(t))
	cluster := func(ca string) Cluster {
		return Cluster{Server: "https://x", CertificateAuthorityData: Base64(ca)}
	}
	tests := []struct {
		name         string
		mine, theirs Cluster
		same         bool
	}{
		{"the same bundle", cluster(one + two), cluster(two + one), true},
		{"mine is in theirs", cluster(one), cluster(two + one + three), true},
		{"theirs is in mine", cluster(one + two), cluster(one), false},
		{"another", cluster(one), cluster(two), false},
		{"one of mine is not in theirs", cluster(one + two), cluster(one + three), false},
		{"mine are the system's", cluster(""), cluster(one), false},
		{"theirs are the system's", cluster(one), cluster(""), false},
		{"another server", cluster(one), Cluster{Server: "https://y",
			CertificateAuthorityData: Base64(one + two)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.mine.DifferenceWithin(tt.theirs); (err == nil) != tt.same {
				t.Errorf("error %v", err)
			}
		})
	}
}
