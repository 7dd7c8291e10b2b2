package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// secretType marks device Secrets. The API server gives it no meaning.
const secretType = "sa-exec-credential/device"

// The annotations of a device, for people who list them. Nothing is decided by them: whoever can
// change Secrets can change these.
const (
	hostAnnotation = "sa-exec-credential/host"
	userAnnotation = "sa-exec-credential/user"
	// Written whenever an administrator's credential requests a bootstrap token. A device can
	// create tokens and nothing else, so what it renews by itself leaves no trace here: only
	// the audit log has that.
	issuedAnnotation  = "sa-exec-credential/bootstrap-issued"
	expiresAnnotation = "sa-exec-credential/bootstrap-expires"
	// Written by invite. Whether the machine has joined leaves no trace for the same reason.
	invitedAnnotation = "sa-exec-credential/invited"
	untilAnnotation   = "sa-exec-credential/invited-until"
)

const (
	maxHostPart   = 40
	maxAnnotation = 256
	randomBytes   = 8
	// deviceInfix ends the account in a device's name. No account that contains it is set up,
	// so its first place tells the account.
	deviceInfix = "-device-"
	maxAccount  = maxName - len(deviceInfix) - maxHostPart - 1 - 2*randomBytes
)

// devicePattern matches the end of a device's name. 64 random bits keep others from taking a name
// first.
const devicePattern = deviceInfix + "[a-z0-9-]*[0-9a-f]{16}$"

var deviceName = regexp.MustCompile("^.+" + devicePattern)

// Owner says whose machine a device is, for people who list them.
type Owner struct {
	Host, User string
	// Invited is when the machine was invited; zero: it has set itself up.
	Invited time.Time
	// Issued and Expires are of the bootstrap token that is requested next, as NoteBootstrap
	// has them; zero: none is, or not known.
	Issued, Expires time.Time
}

// String is " of USER at HOST", as far as they are known.
func (o Owner) String() string {
	text := ""
	if o.User != "" {
		text += " of " + o.User
	}
	if o.Host != "" {
		text += " at " + o.Host
	}
	return text
}

// DeviceInfo is a machine that can mint, or what is left of one.
type DeviceInfo struct {
	profile.Device // a uid is empty where its object is missing
	Short          string
	Owner          Owner
	Created        time.Time
	// Issued and Expires are of the last bootstrap token that setup or rotate requested for
	// the device. The token renews itself, which the cluster does not record: the device can
	// be in use after Expires. Zero when unknown.
	Issued, Expires time.Time
	// InvitedUntil is when the last invitation expires, or has. Zero when unknown.
	InvitedUntil time.Time
	// Minters are who else may mint as the device, as far as the caller can list bindings.
	Minters profile.Minters
	// Odd says what a device of setup's is not: being deleted, without labels, half of a pair.
	Odd []string
}

// hasHash matches what follows the host in a device's name.
var hasHash = regexp.MustCompile("-[0-9a-f]{16}$")

// IsCalled reports whether a person may mean the device by the name of a machine: the whole, or up
// to the first dot.
func (d DeviceInfo) IsCalled(name string) bool {
	first, _, _ := strings.Cut(d.Owner.Host, ".")
	names := []string{d.Owner.Host, first, hasHash.ReplaceAllString(d.Short, "")}
	return name != "" && slices.ContainsFunc(names,
		func(own string) bool { return strings.EqualFold(own, name) })
}

// The states of a device, as far as the cluster knows: it does not learn that a machine has joined,
// because a device can create tokens and nothing else.
const (
	SetUp = "set up" // by an administrator on the machine itself
	// and can join until InvitedUntil where that is known, or has
	Invited = "invited"
	Lapsed  = "joined or lapsed" // by InvitedUntil
)

// State is one of them.
func (d DeviceInfo) State(now time.Time) string {
	switch {
	case d.Owner.Invited.IsZero() || d.Issued.After(d.Owner.Invited):
		return SetUp
	case now.Before(d.InvitedUntil), d.InvitedUntil.IsZero() && !d.Minters.IsEmpty():
		return Invited // one without a secret does not expire
	}
	return Lapsed
}

// NewDeviceName is ACCOUNT-device-HOST- and 64 random bits; each call gives another.
func NewDeviceName(account, hostname string) string {
	host, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	host = strings.Map(func(r rune) rune {
		if len(validation.IsDNS1123Label("x"+string(r)+"x")) == 0 {
			return r
		}
		return '-'
	}, host)
	host = strings.Trim(host[:min(len(host), maxHostPart)], "-")
	if host == "" {
		host = "machine"
	}
	var random [randomBytes]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return account + deviceInfix + host + "-" + hex.EncodeToString(random[:])
}

// IsNamesake reports whether two names of devices differ in nothing but their random bits.
func IsNamesake(a, b string) bool {
	return hasHash.MatchString(a) &&
		hasHash.ReplaceAllString(a, "") == hasHash.ReplaceAllString(b, "")
}

// IsDeviceOf reports whether a name is that of a device of account.
func IsDeviceOf(account, name string) bool {
	return strings.HasPrefix(name, account+deviceInfix) && deviceName.MatchString(name)
}

// DeviceSpec is what a device is to be.
type DeviceSpec struct {
	Namespace, Account, Name string
	Owner                    Owner
	Minting                  Minting // by others than the machine itself
	IsKnown                  bool    // it was there before: look first
}

// EnsureDevice returns the device of a name, created now or by an earlier call, and makes sure
// that it, or those who mint as it, are allowed what they need, and nothing else. Who was allowed
// to mint as it before still is. Errors are *ObjectError.
func EnsureDevice(ctx context.Context, client *api.Client, spec DeviceSpec) (profile.Device,
	error) {
	d := profile.Device{Name: spec.Name}
	if spec.Minting.IsByOthers() {
		before, err := MintersOf(ctx, client, spec.Namespace, spec.Name)
		if err != nil {
			return d, err
		}
		spec.Minting.Minters = spec.Minting.Minters.And(before)
	}
	objects := DeviceObjects(spec)
	for i := range objects {
		uid, err := ensure(ctx, client, objects[i].annotated(spec.Owner), spec.IsKnown)
		if err != nil {
			return profile.Device{}, &ObjectError{Doing: "creating",
				Object: objects[i].Ref(), Err: err}
		}
		switch objects[i].Ref().Kind {
		case "Secret":
			d.SecretUID = uid
		case "ServiceAccount":
			d.AccountUID = uid
		}
	}
	if spec.Minting.AsDevice { // as the API server's older version could not have them
		err := removeMinterLines(ctx, client, spec.Namespace, spec.Account, spec.Name)
		if err != nil && !errors.Is(err, api.ErrForbidden) {
			return d, &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
		}
	}
	return d, nil
}

// Lacking are the objects that EnsureDevice would write, of a device that was there before. Those
// that cannot be looked at are among them.
func Lacking(ctx context.Context, client *api.Client, spec DeviceSpec) (lacking []Object) {
	objects := DeviceObjects(spec)
	isLacking := make([]bool, len(objects))
	parallel.ForEach(len(objects), reviewers, func(i int) {
		o := &objects[i]
		if o.isRight() {
			decision, err := decide(ctx, client, o.normalised())
			if isLacking[i] = err != nil || decision.Wrote(); decision == changed {
				o.decision = changed
			}
			return
		}
		_, err := readMetadata(ctx, client, o.Ref())
		isLacking[i] = err != nil
	})
	for i, o := range objects {
		if isLacking[i] {
			lacking = append(lacking, o)
		}
	}
	return lacking
}

// DeviceObjects are a device's: what it is bound to, what it mints as, and its one right, or that
// of those who mint as it.
func DeviceObjects(d DeviceSpec) []Object {
	ref := func(kind string) Ref { return Ref{Kind: kind, Namespace: d.Namespace, Name: d.Name} }
	objects := []Object{
		newObject(ref("Secret"), d.Account, componentDevice).
			with("type", secretType).
			with("immutable", true), // it stays empty
		newObject(ref("ServiceAccount"), d.Account, componentDevice).
			with("automountServiceAccountToken", false),
	}
	if d.Minting.IsByOthers() {
		return append(objects, mintingObjects(d)...)
	}
	return append(objects,
		newObject(ref("Role"), d.Account, componentDevice).
			with("rules", mintingRules(d.Account, d.Name)),
		newObject(ref("RoleBinding"), d.Account, componentDevice).
			with("roleRef", roleRef("Role", d.Name)).
			with("subjects", subjects(Subject{Namespace: d.Namespace, Name: d.Name})))
}

func (o Object) annotated(owner Owner) Object {
	if !owner.Invited.IsZero() {
		o = o.annotate(invitedAnnotation, stamp(owner.Invited))
	}
	if !owner.Issued.IsZero() && o.Ref().Kind == "Secret" {
		o = o.annotate(issuedAnnotation, stamp(owner.Issued)).annotate(expiresAnnotation,
			stamp(owner.Expires))
	}
	return o.annotate(hostAnnotation, printable(owner.Host)).annotate(userAnnotation,
		printable(owner.User))
}

// ensure creates an object, or finds the one that an earlier setup of this machine has created.
// What others changed in a role or a binding is put right; the rest does not matter.
func ensure(ctx context.Context, client *api.Client, object Object,
	isKnown bool) (uid string, err error) {
	if isKnown {
		if uid, err = find(ctx, client, object); !errors.Is(err, api.ErrNotFound) {
			return uid, err
		}
	}
	ref := object.Ref()
	query := map[string]string{"fieldManager": fieldManager}
	answer, err := send(ctx, client, http.MethodPost, ref.collection(), query,
		"application/json", object.encode())
	if err == nil {
		found, err := decodeMetadata(answer)
		return found.UID, err
	}
	if !errors.Is(err, api.ErrConflict) {
		return "", explain(err)
	}
	return find(ctx, client, object)
}

// isRight holds for roles and bindings.
func (o Object) isRight() bool { return o.content["rules"] != nil || o.content["subjects"] != nil }

// find is ensure for an object that is there.
func find(ctx context.Context, client *api.Client, object Object) (uid string, err error) {
	if object.isRight() {
		object = object.normalised()
		decision, err := decide(ctx, client, object)
		switch {
		case err != nil:
			return "", err
		case decision == created:
			return "", api.ErrNotFound
		case decision.Wrote():
			err = write(ctx, client, object)
		}
		return "", err
	}
	found, err := readMetadata(ctx, client, object.Ref())
	switch {
	case err != nil:
		return "", err
	case found.DeletionTimestamp != "":
		return "", ErrTerminating
	}
	return found.UID, nil
}

// printable keeps what another machine wrote from moving somebody's cursor.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxAnnotation)]
}

// NoteBootstrap records at a device's Secret that a bootstrap token was requested for it. Nothing
// depends on it, so callers can ignore an error, which is an *ObjectError.
func NoteBootstrap(ctx context.Context, client *api.Client, namespace string, d profile.Device,
	issued, expires time.Time) error {
	return note(ctx, client, namespace, d, map[string]any{
		issuedAnnotation: stamp(issued), expiresAnnotation: stamp(expires)})
}

// NoteInvitation records at a device's Secret that its machine was invited, as NoteBootstrap does.
func NoteInvitation(ctx context.Context, client *api.Client, namespace string, d profile.Device,
	invited, until time.Time) error {
	return note(ctx, client, namespace, d, map[string]any{
		invitedAnnotation: stamp(invited), untilAnnotation: stamp(until)})
}

func note(ctx context.Context, client *api.Client, namespace string, d profile.Device,
	annotations map[string]any) error {
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: d.Name}
	// With the uid in it, the patch is refused if the Secret is another by now.
	err := patch(ctx, client, ref,
		map[string]any{"uid": d.SecretUID, "annotations": annotations})
	if err != nil {
		return &ObjectError{Doing: "annotating", Object: ref, Err: err}
	}
	return nil
}

// patch changes an object's metadata (JSON merge patch, RFC 7386).
func patch(ctx context.Context, client *api.Client, ref Ref, metadata map[string]any) error {
	body, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	_, err = send(ctx, client, http.MethodPatch, ref.path(),
		map[string]string{"fieldManager": fieldManager},
		"application/merge-patch+json", body)
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Devices lists the machines that can mint for account, by the names and kinds of what there is:
// labels could be missing. Of the Secrets only the metadata is read.
func Devices(ctx context.Context, client *api.Client, namespace, account string) ([]DeviceInfo,
	error) {
	found := map[string]*DeviceInfo{}
	for _, kind := range []string{"Secret", "ServiceAccount"} {
		ref := Ref{Kind: kind, Namespace: namespace}
		items, err := listMetadata(ctx, client, ref.collection(), nil)
		if err != nil {
			return nil, fmt.Errorf("listing %s in namespace %q: %w", ref.Resource(),
				namespace, err)
		}
		for _, item := range items {
			if IsDeviceOf(account, item.Name) {
				if found[item.Name] == nil {
					found[item.Name] = &DeviceInfo{Device: profile.Device{Name: item.Name},
						Short: strings.TrimPrefix(item.Name, account+deviceInfix)}
				}
				found[item.Name].add(kind, account, item)
			}
		}
	}
	devices := make([]DeviceInfo, 0, len(found))
	for _, d := range found {
		devices = append(devices, d.complete())
	}
	slices.SortFunc(devices, func(a, b DeviceInfo) int {
		return strings.Compare(a.Name,
			b.Name)
	})
	if len(devices) > 0 {
		addMinters(ctx, client, namespace, devices)
	}
	return devices, nil
}

// add takes one of the two objects into account.
func (d *DeviceInfo) add(kind, account string, item metadata) {
	if kind == "Secret" {
		d.SecretUID = item.UID
		d.Issued, d.Expires = parseTime(item.Annotations[issuedAnnotation]),
			parseTime(item.Annotations[expiresAnnotation])
		d.Owner.Invited = parseTime(item.Annotations[invitedAnnotation])
		d.InvitedUntil = parseTime(item.Annotations[untilAnnotation])
	} else {
		d.AccountUID = item.UID
	}
	if created := parseTime(item.CreationTimestamp); d.Created.IsZero() ||
		created.Before(d.Created) {
		d.Created = created
	}
	if d.Owner.Host == "" && d.Owner.User == "" {
		d.Owner.Host = printable(item.Annotations[hostAnnotation])
		d.Owner.User = printable(item.Annotations[userAnnotation])
	}
	if item.DeletionTimestamp != "" {
		d.Odd = append(d.Odd, kind+" is being deleted")
	}
	if item.Labels[accountLabel] != labelValue(account) ||
		item.Labels[componentLabel] != componentDevice {
		d.Odd = append(d.Odd, kind+" without our labels")
	}
}

func (d *DeviceInfo) complete() DeviceInfo {
	if d.SecretUID == "" {
		d.Odd = append(d.Odd, "no Secret")
	}
	if d.AccountUID == "" {
		d.Odd = append(d.Odd, "no ServiceAccount")
	}
	return *d
}

func parseTime(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text) // zero when somebody edited it
	return t
}

// Deletion is what came of one object of a device.
type Deletion string

// What can come of deleting an object.
const (
	Deleted  Deletion = "deleted"
	Gone     Deletion = "gone already"
	Namesake Deletion = "deleted, though it was not the one that setup created"
)

// DeleteDevice deletes a device, and with it every token that is bound to it or stands for it: the API
// server refuses them some 15 seconds later. Nothing keeps it from that: not a label, an owner, a
// finalizer, or another object in the place of one of the two. progress is told of each. Errors are
// *ObjectError; of what comes after one nothing is deleted.
func DeleteDevice(ctx context.Context, client *api.Client, namespace string, d profile.Device,
	progress func(Ref, Deletion)) error {
	for _, object := range []struct{ kind, uid string }{{"ServiceAccount", d.AccountUID},
		{"Secret", d.SecretUID}} {
		ref := Ref{Kind: object.kind, Namespace: namespace, Name: d.Name}
		result, err := deleteForGood(ctx, client, ref, object.uid)
		if err != nil {
			return &ObjectError{Doing: "deleting", Object: ref, Err: err}
		}
		progress(ref, result)
	}
	for _, ref := range rolesOfDevice(namespace, d.Name) { // of no use to anybody now
		_, err := send(ctx, client, http.MethodDelete, ref.path(), nil, "application/json",
			nil)
		if err != nil && !errors.Is(err, api.ErrNotFound) && !errors.Is(err,
			api.ErrForbidden) {
			return &ObjectError{Doing: "deleting", Object: ref, Err: err}
		}
	}
	account, _, _ := strings.Cut(d.Name, deviceInfix)
	err := removeMinterLines(ctx, client, namespace, account, d.Name)
	if err != nil && !errors.Is(err, api.ErrForbidden) {
		return &ObjectError{Doing: "writing", Object: LimitsRef, Err: err}
	}
	return nil
}

// rolesOfDevice are the names of all that a device, or who mints as it, may have had rights by.
func rolesOfDevice(namespace, device string) []Ref {
	return append([]Ref{{"RoleBinding", namespace, device}, {"Role", namespace, device}},
		mintingRefs(namespace, device)...)
}

// deleteForGood deletes by uid. A namesake, which nobody else can have had a reason to create,
// goes too.
func deleteForGood(ctx context.Context, client *api.Client, ref Ref, uid string) (Deletion, error) {
	result := Deleted
	left, err := deleteByUID(ctx, client, ref, uid)
	if errors.Is(err, api.ErrConflict) {
		result = Namesake
		var found metadata
		if found, err = readMetadata(ctx, client, ref); err == nil {
			left, err = deleteByUID(ctx, client, ref, found.UID)
		}
	}
	if err == nil && len(left.Finalizers) > 0 {
		err = patch(ctx, client, ref, map[string]any{"uid": left.UID, "finalizers": nil})
	}
	if errors.Is(err, api.ErrNotFound) {
		if len(left.Finalizers) == 0 {
			result = Gone
		}
		err = nil
	}
	return result, err
}

// deleteByUID returns what is left of the object: one with finalizers stays until they are gone.
func deleteByUID(ctx context.Context, client *api.Client, ref Ref, uid string) (metadata, error) {
	options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions"}
	if uid != "" {
		options["preconditions"] = map[string]any{"uid": uid}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return metadata{}, err
	}
	answer, err := send(ctx, client, http.MethodDelete, ref.path(), nil, "application/json",
		body)
	if err != nil {
		return metadata{}, err
	}
	left, _ := decodeMetadata(answer) // a Status, where nothing is left
	return left, nil
}
