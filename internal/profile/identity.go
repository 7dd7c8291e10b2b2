package profile

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Identity says which cluster a token may be sent to. Two descriptions of a cluster are the same
// cluster when their identities are equal: a client that verifies TLS with one can reach nobody
// that a client with the other would not.
type Identity struct {
	Server string `json:"server"` // normalised URL
	// lower case; empty when it is the server's own host name
	TLSServerName string `json:"tlsServerName"`
	// SHA-256 of the CA bundle's certificates in hex; empty for the system's roots
	CA string `json:"ca"`
}

// What can be wrong with the description of a cluster.
var (
	ErrCluster      = errors.New("not a usable cluster")
	ErrOtherCluster = errors.New("the client's cluster is not the profile's")
)

// IdentityOf normalises a cluster's description. It is an ErrCluster when server is not an https
// URL that names a host and at most a plain path, or ca holds anything but certificates.
func IdentityOf(server, tlsServerName string, ca []byte) (Identity, error) {
	normalised, host, err := normaliseServer(server)
	if err != nil {
		return Identity{}, err
	}
	digest, err := digestCA(ca)
	if err != nil {
		return Identity{}, err
	}
	name := normaliseHost(tlsServerName)
	if tlsServerName != "" && (name == "" || strings.HasSuffix(name, ".")) {
		return Identity{}, fmt.Errorf("%w: tls-server-name %q names no host", ErrCluster,
			tlsServerName)
	}
	if name == host {
		name = ""
	}
	return Identity{Server: normalised, TLSServerName: name, CA: digest}, nil
}

// difference is nil when the identities are equal; otherwise an ErrOtherCluster that names the
// first field that is not.
func (i Identity) difference(other Identity) error {
	switch {
	case i.Server != other.Server:
		return fmt.Errorf("%w: it has server %q, the profile %q", ErrOtherCluster,
			other.Server,
			i.Server)
	case i.TLSServerName != other.TLSServerName:
		return fmt.Errorf("%w: it has tls-server-name %q, the profile %q", ErrOtherCluster,
			other.TLSServerName, i.TLSServerName)
	case i.CA != other.CA:
		return fmt.Errorf("%w: its certificate authority is another", ErrOtherCluster)
	}
	return nil
}

func normaliseServer(server string) (normalised, host string, err error) {
	parsed, err := url.Parse(server)
	refused := func(problem string) (string, string, error) {
		return "", "", fmt.Errorf("%w: server %q %s", ErrCluster, secret.URL(server),
			problem)
	}
	if err != nil {
		return refused("is not a URL")
	}
	switch {
	case !strings.EqualFold(parsed.Scheme, "https"):
		return refused("is not an https URL")
	case parsed.User != nil:
		return "", "", fmt.Errorf("%w: the server's URL holds user information", ErrCluster)
	case parsed.RawQuery != "" || parsed.ForceQuery || strings.Contains(server, "#"):
		return refused("has a query or a fragment")
	}
	host = normaliseHost(parsed.Hostname())
	if host == "" || strings.HasSuffix(host, ".") {
		return refused("names no host")
	}
	port, err := normalisePort(parsed.Port())
	if err != nil {
		return refused("names no port")
	}
	below, ok := normalisePath(parsed)
	if !ok {
		return refused("has a path that clients may understand differently")
	}
	// RFC 6874: the "%" before an IPv6 zone is escaped in a URL.
	normalised = "https://" + net.JoinHostPort(strings.ReplaceAll(host, "%", "%25"), port) +
		below
	if again, err := url.Parse(normalised); err != nil || again.Hostname() != host {
		return refused("has a host that clients may understand differently")
	}
	return normalised, host, nil
}

func normalisePort(port string) (string, error) {
	if port == "" {
		return "443", nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return strconv.FormatUint(number, 10), err
}

// normaliseHost folds what DNS and TLS do not tell apart: case, a final dot, and spellings of an IP
// address. Letters beyond ASCII stay as they are, because not all clients map them alike.
func normaliseHost(host string) string {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.String()
	}
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	return strings.TrimSuffix(strings.Map(lower, host), ".")
}

// normalisePath drops final slashes. A path with dot segments or empty ones is not plain: clients
// and the proxies behind a shared address do not agree on where it leads, and the token must not
// get into another cluster's hands.
func normalisePath(parsed *url.URL) (normalised string, plain bool) {
	trimmed := strings.TrimRight(parsed.EscapedPath(), "/")
	if trimmed == "" {
		return "", true
	}
	decoded := strings.TrimRight(parsed.Path, "/")
	return trimmed, path.Clean(decoded) == decoded && !strings.ContainsAny(decoded, "\\")
}

// Identity is which cluster it is.
func (c Cluster) Identity() (Identity, error) {
	return IdentityOf(c.Server, c.TLSServerName, c.CertificateAuthorityData)
}

// Difference is nil when both descriptions are of the same cluster, and otherwise an
// ErrOtherCluster that says why. It is the one place where that is decided. When it is c itself
// that describes no cluster, the error is an ErrCluster alone.
func (c Cluster) Difference(other Cluster) error {
	first, err := c.Identity()
	if err != nil {
		return err
	}
	second, err := other.Identity()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOtherCluster, err)
	}
	return first.difference(second)
}

// DifferenceWithin is Difference, and nil also where the other's bundle only holds more than c's
// certificates. It is for those who then connect with c's: they reach nobody else.
func (c Cluster) DifferenceWithin(other Cluster) error {
	if len(c.CertificateAuthorityData) > 0 &&
		holdsAll(other.CertificateAuthorityData, c.CertificateAuthorityData) {
		other.CertificateAuthorityData = c.CertificateAuthorityData
	}
	return c.Difference(other)
}
