// Package invitation is what an administrator hands to a machine so that it can join: whose tokens
// of which cluster it can mint, the device that it is to be, and a token of that device that lives
// minutes. Where the machine has an identity of its own that the cluster knows, there is no token,
// and nothing that is secret or expires. It reads and writes the block between armour lines that
// both commands pass on.
//
// It has no field for a command, a variable, a file or another context, so nobody can have one
// read or run by what he writes: what a machine shows instead of a token is one of a short list,
// and which variable or file that is in says whoever has it join. It calls no server and keeps
// nothing.
package invitation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Armour is the type in the block's first and last line.
const Armour = "SA-EXEC-CREDENTIAL INVITATION"

// OpenArmour is that of an invitation without a token.
const OpenArmour = Armour + " WITHOUT A SECRET"

const (
	version     = 1
	openVersion = 2 // of those without a token, which programs before it do not know
	// maxSize bounds the input, in bytes: three times what the largest bundle of certificate
	// authorities takes that clients can hand to a plugin.
	maxSize = 512 << 10
	maxUID  = 64 // bytes; the API server's are 36
)

// Lifetimes of the token in an invitation: the API server grants none that is shorter, and a
// day is enough to carry a file to a machine.
const (
	MinValid = profile.MinDuration
	MaxValid = 24 * time.Hour
)

// What can be wrong with what somebody takes for an invitation. The errors of this package wrap
// one of them. None quotes what was read, which may be a secret.
var (
	ErrEmpty   = errors.New("there is no invitation")
	ErrForeign = errors.New("this is no invitation")
	ErrCut     = errors.New("the invitation is cut")
	ErrAltered = errors.New("the invitation has been altered")
	ErrVersion = errors.New("the invitation is of another version")
	ErrInvalid = errors.New("the invitation cannot be used")
)

// Invitation is one machine's. Its times are the API server's.
type Invitation struct {
	Cluster    profile.Cluster `json:"cluster"`
	ClusterUID string          `json:"clusterUID,omitempty"` // empty: unknown
	// of the account
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	// namespaces of its rights; none: its own
	In []string `json:"in,omitempty"`
	// of its tokens; none: the API server's own
	Audiences         []string         `json:"audiences,omitempty"`
	Duration          profile.Duration `json:"duration"`
	BootstrapDuration profile.Duration `json:"bootstrapDuration,omitzero"`
	Machine           string           `json:"machine"` // as the administrator calls it
	Device            profile.Device   `json:"device"`
	Profile           string           `json:"profile"` // the name that is suggested
	// of the token; zero where there is none
	Expires time.Time     `json:"expires,omitzero"`
	Token   secret.String `json:"-"` // of the device, bound to it
	// External is in the place of the token: the machine has an identity of its own.
	External *External `json:"external,omitempty"`
}

// External is what the machine authenticates with, and how it mints.
type External struct {
	// of a variable or a file only the kind: their names are the machine's
	Source   profile.Source `json:"source"`
	AsDevice bool           `json:"asDevice,omitempty"` // see profile.Bootstrap
	// what a job asks for its ID token, and where it may ask; see profile.Bootstrap. That its own
	// variables lead there is its own doing: none of this leads it anywhere.
	Audience          string `json:"audience,omitempty"`
	ServiceConnection string `json:"serviceConnection,omitempty"`
	URL               string `json:"url,omitempty"`
	// who may mint with it, for the command that invites again
	Minters profile.Minters `json:"minters,omitzero"`
}

// bootstrap is what it makes of a profile.
func (e External) bootstrap() profile.Bootstrap {
	return profile.Bootstrap{Source: e.Source, AsDevice: e.AsDevice, Audience: e.Audience,
		ServiceConnection: e.ServiceConnection, URL: e.URL}
}

// ExternalFor is what an invitation says of a profile's source, and of who may mint.
func ExternalFor(p profile.Profile) *External {
	b := p.Bootstrap
	return &External{Minters: p.Setup.Minters, Source: b.Source, AsDevice: b.AsDevice, Audience: b.Audience,
		ServiceConnection: b.ServiceConnection, URL: b.URL}
}

// Sources are those that an invitation without a token can be for.
var Sources = []profile.Source{profile.SourceInCluster, profile.SourceEnv,
	profile.SourceTokenFile, profile.SourceGitHub, profile.SourceAzure}

// content is an invitation as it is written, the only form that shows the token.
type content struct {
	Invitation
	Token string `json:"token,omitempty"`
}

// envelope keeps what is in it from being altered by accident. Whoever alters it on purpose can
// write one of his own as well.
type envelope struct {
	Version    int             `json:"version"`
	SHA256     string          `json:"sha256"` // of the invitation's bytes, in hex
	Invitation json.RawMessage `json:"invitation"`
}

// Account is NAMESPACE/SERVICEACCOUNT, for messages.
func (i Invitation) Account() string { return i.Namespace + "/" + i.ServiceAccount }

// version is the first one that knows such invitations.
func (i Invitation) version() int {
	if i.External != nil {
		return openVersion
	}
	return version
}

// Encode writes the block, which is a secret until the invitation has expired if it has a token. It is an ErrInvalid
// when Read would refuse it.
func (i Invitation) Encode() ([]byte, error) {
	i.Expires = i.Expires.UTC().Truncate(time.Second)
	if err := i.check(); err != nil {
		return nil, err
	}
	inner, err := json.Marshal(content{i, i.Token.Reveal()})
	if err != nil {
		return nil, err
	}
	outer, err := json.Marshal(envelope{i.version(), checksum(inner), inner})
	if err != nil {
		return nil, err
	}
	armour := Armour
	if i.External != nil {
		armour = OpenArmour
	}
	block := pem.EncodeToMemory(&pem.Block{Type: armour, Bytes: outer})
	if len(block) > maxSize {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrInvalid, maxSize)
	}
	return block, nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Read reads an invitation and nothing else: what comes before or after the block, but for blank
// lines, is refused, and so is whatever Encode would not have written.
func Read(r io.Reader) (Invitation, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return Invitation{}, fmt.Errorf("reading the invitation: %w", err)
	}
	if len(data) > maxSize {
		return Invitation{}, fmt.Errorf("%w: it is longer than %d bytes", ErrForeign,
			maxSize)
	}
	data = bytes.TrimSpace(data)
	armour := Armour
	if bytes.Contains(data, []byte(OpenArmour)) {
		armour = OpenArmour
	}
	outer, err := unarmour(data, armour)
	if err != nil {
		return Invitation{}, err
	}
	i, err := parse(outer)
	if err == nil && (i.External != nil) != (armour == OpenArmour) {
		err = fmt.Errorf("%w: its first line is of another kind", ErrAltered)
	}
	return i, err
}

// unarmour takes the block's content out of it, and says what else it is or lacks.
func unarmour(data []byte, armour string) ([]byte, error) {
	begin, end := "-----BEGIN "+armour+"-----", "-----END "+armour+"-----"
	hasBegin, hasEnd := bytes.HasPrefix(data, []byte(begin)), bytes.HasSuffix(data, []byte(end))
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("%w: the input is empty", ErrEmpty)
	case bytes.Count(data, []byte(begin)) > 1:
		return nil, fmt.Errorf("%w: it holds several, and a machine joins with one",
			ErrForeign)
	case hasBegin && !bytes.Contains(data, []byte(end)):
		return nil, fmt.Errorf("%w: its last line is missing", ErrCut)
	case hasEnd && !bytes.Contains(data, []byte(begin)):
		return nil, fmt.Errorf("%w: its first line is missing", ErrCut)
	case !bytes.Contains(data, []byte(begin)):
		return nil, fmt.Errorf("%w: it is %s", ErrForeign, kindOf(data))
	case !hasBegin || !hasEnd:
		return nil, fmt.Errorf("%w: there is more than the block", ErrAltered)
	}
	block, rest := pem.Decode(data)
	if block == nil || len(block.Headers) > 0 || len(rest) > 0 {
		return nil, fmt.Errorf("%w: a part of it is missing or was changed", ErrAltered)
	}
	return block.Bytes, nil
}

var (
	otherBlock = regexp.MustCompile(`(?m)^-----BEGIN ([A-Z0-9 -]{1,64})-----`)
	kubeconfig = regexp.MustCompile(`(?m)^["{ ,]*(kind["']?: *["']?Config|clusters["']?:)`)
)

// kindOf says what people hand over by mistake.
func kindOf(data []byte) string {
	if match := otherBlock.FindSubmatch(data); match != nil {
		return fmt.Sprintf("a %q block", match[1])
	}
	switch {
	case kubeconfig.Match(data):
		return "a kubeconfig"
	case mint.ParseClaims(string(data)).Subject != "":
		return "a token"
	}
	return "something else"
}

func parse(outer []byte) (Invitation, error) {
	var e envelope
	if json.Unmarshal(outer, &e) != nil || e.Version == 0 {
		return Invitation{}, fmt.Errorf("%w: a part of it is missing or was changed",
			ErrAltered)
	}
	if e.Version > openVersion || e.Version < version {
		return Invitation{}, fmt.Errorf("%w: %d, and this program knows %d", ErrVersion,
			e.Version, openVersion)
	}
	if checksum(e.Invitation) != e.SHA256 || !isWrittenAs(e, outer) {
		return Invitation{}, fmt.Errorf("%w: its checksum is of something else",
			ErrAltered)
	}
	var c content
	if json.Unmarshal(e.Invitation, &c) != nil || !isWrittenAs(c, e.Invitation) ||
		c.version() != e.Version {
		return Invitation{}, fmt.Errorf("%w: it holds what version %d does not know",
			ErrInvalid, e.Version)
	}
	i := c.Invitation
	i.Token = secret.New(c.Token)
	return i, i.check()
}

// isWrittenAs reports whether a value is written as it was read. encoding/json passes over unknown
// fields, takes the last of two and any case of their names: none of that comes from Encode.
func isWrittenAs(value any, data []byte) bool {
	written, err := json.Marshal(value)
	return err == nil && bytes.Equal(written, data)
}

var uid = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// check is an ErrInvalid for what could not work. What is in the token is not verified: it only
// has to be what setup would have requested for the device.
func (i Invitation) check() error {
	if err := i.problem(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (i Invitation) problem() error {
	if err := profile.CheckName(i.Profile); err != nil {
		return err
	}
	p := i.ProfileFor("record", keyring.Kernel)
	if e := i.External; e != nil && !p.Bootstrap.IsJob() {
		if e.Audience+e.ServiceConnection+e.URL != "" {
			return errors.New("only a job asks for an ID token")
		}
		// the rest is named by whoever has the machine join
		p.Bootstrap = profile.Bootstrap{Source: profile.SourceKeyring, Duration: &i.Duration}
	}
	if err := p.Validate(); err != nil {
		return err
	}
	if err := p.Setup.Minters.CheckFor(i.Namespace, i.ServiceAccount); err != nil {
		return err
	}
	if err := profile.CheckBundle(i.Cluster.CertificateAuthorityData); err != nil {
		return err
	}
	for _, namespace := range i.In {
		if err := profile.CheckNamespace(namespace); err != nil {
			return err
		}
	}
	if i.Machine == "" {
		return errors.New("it names no machine")
	}
	return i.deviceProblem()
}

func (i Invitation) deviceProblem() error {
	d := i.Device
	claims := mint.ParseClaims(i.Token.Reveal())
	switch {
	case !cluster.IsDeviceOf(i.ServiceAccount, d.Name):
		return errors.New("its device is not the account's")
	case profile.CheckServiceAccount(d.Name) != nil:
		return errors.New("its device has no name that a cluster admits")
	case !isUID(d.SecretUID) || !isUID(d.AccountUID) ||
		i.ClusterUID != "" && !isUID(i.ClusterUID):
		return errors.New("a uid in it is none")
	case i.External != nil && !slices.Contains(Sources, i.External.Source):
		return errors.New("what it has the machine authenticate with is not known")
	case i.External != nil && (!i.Token.Empty() || !i.Expires.IsZero()):
		return errors.New("it holds a token that it has no use for")
	case i.External != nil:
	case !secret.IsToken(i.Token.Reveal()):
		return errors.New("it holds no token")
	case claims.Subject != mint.Username(i.Namespace, d.Name):
		return errors.New("its token is not the device's")
	case i.Expires.IsZero() || i.Expires.Year() > 9999:
		return errors.New("it never expires")
	}
	return nil
}

func isUID(text string) bool { return len(text) <= maxUID && uid.MatchString(text) }

// ProfileFor is the profile of a machine that has joined, with the name that is suggested. Of a
// variable or a file it has no name.
func (i Invitation) ProfileFor(record string, store keyring.Kind) profile.Profile {
	p := profile.Profile{Name: i.Profile, Cluster: i.Cluster, Namespace: i.Namespace,
		ServiceAccount: i.ServiceAccount, Audiences: i.Audiences, Duration: i.Duration,
		Device: record, Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &i.BootstrapDuration}, Store: store, In: i.In,
		Setup: profile.Setup{Machine: i.Machine}}
	if e := i.External; e != nil {
		p.Bootstrap, p.Setup.Minters = e.bootstrap(), e.Minters
	}
	return p
}
