package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	gokeyring "github.com/zalando/go-keyring"
	gosecret "github.com/zalando/go-keyring/secret_service"
)

// Names of the Secret Service API, see https://specifications.freedesktop.org/secret-service/.
const (
	secretsName       = "org.freedesktop.secrets"
	secretsPath       = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService    = "org.freedesktop.Secret.Service."
	secretsItem       = "org.freedesktop.Secret.Item"
	secretsCollection = "org.freedesktop.Secret.Collection"
	loginCollection   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	defaultCollection = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
	propertiesGet     = "org.freedesktop.DBus.Properties.Get"
)

// secretService keeps items in the collection that go-keyring uses: "login" where there is one,
// else the default.
//
// What every kubectl call does, and what every mint does, are short exchanges over a connection of
// its own. Whatever is not plain in their answers (a locked collection, two items of one name, a
// prompt) is left to go-keyring.
type secretService struct {
	sys  System
	uid  int
	idle *idleCallers // nil: every exchange has a connection of its own
}

func openKeyring(sys System) (prober, error) {
	s := secretService{sys: sys, uid: os.Geteuid(), idle: &idleCallers{}}
	return &store{
		kind:        Keyring,
		description: "Secret Service",
		sys:         sys,
		items:       parted{items: s},
		check:       s.check,
	}, nil
}

// check reports whether a secret can be kept now, and lets a person unlock the collection for that.
func (s secretService) check(ctx context.Context) error {
	err := s.quick(ctx, s.state)
	if errors.Is(err, ErrLocked) && s.sys.Interactive {
		_, err = s.throughGoKeyring(ctx, unlock)
	}
	return err
}

// unlock asks the person to unlock the collection. It has no result but the error.
func unlock() (string, error) {
	svc, err := gosecret.NewSecretService()
	if err != nil {
		return "", err
	}
	return "", svc.Unlock(svc.GetLoginCollection().Path())
}

func (s secretService) read(ctx context.Context, name string) ([]byte, error) {
	value, err := s.quickLookup(ctx, name)
	if !errors.Is(err, errUnusual) {
		return value, err
	}
	text, err := s.careful(ctx, func() (string, error) { return gokeyring.Get(service, name) })
	return []byte(text), err
}

// quickLookup is bounded by the connection's deadline, without a goroutine of its own: this is what
// every hit pays for.
func (s secretService) quickLookup(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.sys.Limits.Call)
	defer cancel()
	var value []byte
	err := uninterrupted(func() (err error) {
		value, err = s.lookup(ctx, name)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = ended(ctx)
	}
	return value, err
}

func (s secretService) names(ctx context.Context) ([]string, error) {
	names, err := bounded(ctx, s.sys.Limits.Call, s.list)
	if errors.Is(err, ErrLocked) && s.sys.Interactive {
		if _, err := s.throughGoKeyring(ctx, unlock); err != nil {
			return nil, err
		}
		return bounded(ctx, s.sys.Limits.Call, s.list)
	}
	return names, err
}

// quick bounds an exchange that waits for no person.
func (s secretService) quick(ctx context.Context, exchange func(context.Context) error) error {
	return uninterrupted(func() error { return boundedErr(ctx, s.sys.Limits.Call, exchange) })
}

// careful makes a call of go-keyring, unless it would ask a person who must not be asked.
func (s secretService) careful(ctx context.Context, call func() (string, error)) (string, error) {
	if err := s.quick(ctx, s.state); err != nil &&
		!(errors.Is(err, ErrLocked) && s.sys.Interactive) {
		return "", err
	}
	return s.throughGoKeyring(ctx, call)
}

// errUnusual means that the short exchange met something that go-keyring has to look at.
var errUnusual = errors.New("an unusual answer of the Secret Service")

// caller is a connection to the Secret Service.
//
// gnome-keyring takes note of a caller beside its work at the caller's first message, and ends,
// with everybody's secrets, when it comes to an OpenSession, or since GLib 2.88.2 to a property,
// before that, or when the caller is gone already
// (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190). So the first message is one that can
// do no harm, nothing is asked before its answer is here, and nobody leaves before all answers are.
type caller struct {
	*busConn
	service dbus.BusObject
	known   bool            // gnome-keyring has answered it
	session dbus.ObjectPath // empty: none is open yet
	pending bool            // an answer is, or may be, still on its way
}

// idleCallers are connections that the next exchange may use: a mint makes four.
type idleCallers struct {
	mutex sync.Mutex
	list  []*caller
}

func (i *idleCallers) take() *caller {
	if i == nil {
		return nil
	}
	i.mutex.Lock()
	defer i.mutex.Unlock()
	for len(i.list) > 0 {
		last := i.list[len(i.list)-1]
		i.list = i.list[:len(i.list)-1]
		if last.Connected() {
			return last
		}
		_ = last.Close()
	}
	return nil
}

// leave keeps a connection for the next exchange, or closes one that is still owed an answer.
func (s secretService) leave(c *caller) {
	if s.idle == nil || c.pending || !c.Connected() {
		_ = c.Close()
		return
	}
	s.idle.mutex.Lock()
	defer s.idle.mutex.Unlock()
	s.idle.list = append(s.idle.list, c)
}

func (s secretService) connect(ctx context.Context) (*caller, error) {
	if c := s.idle.take(); c != nil && c.bound(ctx) == nil {
		return c, nil
	}
	bus, err := findBus(s.sys.Getenv)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, bus, s.uid)
	if err != nil {
		return nil, err
	}
	return &caller{busConn: conn, service: conn.Object(secretsName, secretsPath)}, nil
}

// ask makes a call and waits for its results.
func (c *caller) ask(ctx context.Context, object dbus.BusObject, method string, arguments []any,
	results ...any) error {
	c.pending = true
	call := object.GoWithContext(ctx, method, 0, nil, arguments...)
	if err := c.flush(); err != nil {
		return unavailable(err)
	}
	err := reply(call, results...)
	c.pending = fatal(err) || ctx.Err() != nil
	c.known = c.known || err == nil
	return err
}

// introduce makes a caller known that has nothing to search for.
func (c *caller) introduce(ctx context.Context) error {
	if c.known {
		return nil
	}
	var ignored dbus.ObjectPath
	err := c.ask(ctx, c.service, secretsService+"ReadAlias", []any{"default"}, &ignored)
	if fatal(err) {
		return err
	}
	return nil
}

// search is a good first message. gnome-keyring says that it knows no such method when it does not
// know the caller yet.
func (c *caller) search(ctx context.Context,
	attributes map[string]string) (unlocked, locked []dbus.ObjectPath, err error) {
	for range 2 {
		err = c.ask(ctx, c.service, secretsService+"SearchItems", []any{attributes}, &unlocked,
			&locked)
		if !errors.Is(err, errUnusual) {
			break
		}
	}
	return unlocked, locked, err
}

// openSession returns the connection's session. One that the service no longer knows, because it
// was started again, is found out by the call that names it.
func (c *caller) openSession(ctx context.Context) (dbus.ObjectPath, error) {
	if c.session != "" {
		return c.session, nil
	}
	var output dbus.Variant
	err := c.ask(ctx, c.service, secretsService+"OpenSession", []any{"plain", dbus.MakeVariant("")},
		&output, &c.session)
	return c.session, err
}

// lookup is what a hit costs: SearchItems, OpenSession and GetSecret.
func (s secretService) lookup(ctx context.Context, name string) ([]byte, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave(conn)
	unlocked, locked, err := conn.search(ctx, attributes(name))
	switch {
	case err != nil:
		return nil, err
	case len(unlocked) == 1 && len(locked) == 0:
		return conn.secret(ctx, unlocked[0])
	case len(unlocked)+len(locked) > 0:
		return nil, errUnusual
	}
	// Some services hide the items of a locked collection.
	if err := conn.state(ctx); err != nil && !errors.Is(err, errNoCollection) {
		return nil, lockedIsUnusual(err, s.sys.Interactive)
	}
	return nil, notFound("the Secret Service has no such item")
}

// lockedIsUnusual hands a locked collection to go-keyring when a person may unlock it.
func lockedIsUnusual(err error, interactive bool) error {
	if interactive && errors.Is(err, ErrLocked) {
		return errUnusual
	}
	return err
}

// secretValue is the structure (oayays) of the Secret Service API.
type secretValue struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func (c *caller) secret(ctx context.Context, item dbus.ObjectPath) ([]byte, error) {
	session, err := c.openSession(ctx)
	if err != nil {
		return nil, err
	}
	var secret secretValue
	if err := c.ask(ctx, c.Object(secretsName, item), secretsItem+".GetSecret", []any{session},
		&secret); err != nil {
		if fatal(err) {
			return nil, err
		}
		c.session = ""         // it may be what the service does not know
		return nil, errUnusual // locked or deleted since the search
	}
	return secret.Value, nil
}

// list returns the names of the items, or ErrLocked when some cannot be seen.
func (s secretService) list(ctx context.Context) ([]string, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave(conn)
	unlocked, locked, err := conn.search(ctx, map[string]string{"service": service})
	if err != nil {
		return nil, err
	}
	if len(locked) > 0 {
		return nil, ErrLocked
	}
	if len(unlocked) == 0 {
		if err := conn.state(ctx); err != nil && !errors.Is(err, errNoCollection) {
			return nil, err
		}
	}
	return conn.usernames(ctx, unlocked)
}

// askedAtOnce is below what a bus refuses to keep track of for one caller: dbus-daemon's own limit
// is 128.
const askedAtOnce = 64

func (c *caller) usernames(ctx context.Context, items []dbus.ObjectPath) ([]string, error) {
	c.pending = true
	var names []string
	for some := range slices.Chunk(items, askedAtOnce) {
		calls := make([]*dbus.Call, len(some))
		for i, item := range some {
			calls[i] = c.Object(secretsName, item).GoWithContext(ctx, propertiesGet, 0, nil,
				secretsItem, "Attributes")
		}
		for _, call := range calls {
			var attributes map[string]string
			if err := reply(call, &attributes); fatal(err) {
				return nil, err
			}
			if name, ok := attributes["username"]; ok { // an item may be deleted meanwhile
				names = append(names, name)
			}
		}
	}
	c.pending = ctx.Err() != nil
	return names, nil
}

// errNoCollection means that a Secret Service runs that has nowhere to put a secret, as
// gnome-keyring has where nobody ever logged in with a password.
var errNoCollection error = &reason{&ErrUnavailable, "the Secret Service has no default collection"}

// state reports whether a secret can be kept now: nil, ErrLocked, errNoCollection or another
// ErrUnavailable.
func (s secretService) state(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer s.leave(conn)
	if err := conn.introduce(ctx); err != nil {
		return err
	}
	return conn.state(ctx)
}

func (c *caller) state(ctx context.Context) error {
	_, err := c.collection(ctx)
	return err
}

// collection returns the collection that go-keyring writes to, or what state reports. The default
// one is asked for only where it is needed: gnome-keyring looks its alias up while it may be
// changing it, and ends of that, too.
func (c *caller) collection(ctx context.Context) (dbus.ObjectPath, error) {
	for _, path := range []dbus.ObjectPath{loginCollection, defaultCollection} {
		var locked bool
		err := c.ask(ctx, c.Object(secretsName, path), propertiesGet,
			[]any{secretsCollection, "Locked"}, &locked)
		switch {
		case fatal(err):
			return "", err
		case err == nil && locked:
			return "", ErrLocked
		case err == nil:
			return path, nil
		}
	}
	return "", errNoCollection
}

// write stores the item. Where the collection is unlocked, that is a session and one CreateItem, as
// go-keyring makes it after nine round trips more.
func (s secretService) write(ctx context.Context, name string, value []byte, _ time.Time) error {
	err := s.quick(ctx, func(ctx context.Context) error { return s.create(ctx, name, value) })
	if !errors.Is(err, errUnusual) {
		return err
	}
	_, err = s.careful(ctx,
		func() (string, error) { return "", gokeyring.Set(service, name, string(value)) })
	return err
}

// create stores the item in one exchange, or is errUnusual when that takes more.
func (s secretService) create(ctx context.Context, name string, value []byte) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer s.leave(conn)
	if err := conn.introduce(ctx); err != nil {
		return err
	}
	collection, err := conn.collection(ctx)
	if err != nil {
		return lockedIsUnusual(err, s.sys.Interactive)
	}
	session, err := conn.openSession(ctx)
	if err != nil {
		return err
	}
	properties := map[string]dbus.Variant{
		secretsItem + ".Label": dbus.MakeVariant(fmt.Sprintf("Password for '%s' on '%s'", name,
			service)),
		secretsItem + ".Attributes": dbus.MakeVariant(attributes(name)),
	}
	secret := secretValue{Session: session, Parameters: []byte{}, Value: value,
		ContentType: "text/plain; charset=utf8"}
	var item, prompt dbus.ObjectPath
	err = conn.ask(ctx, conn.Object(secretsName, collection), secretsCollection+".CreateItem",
		[]any{properties, secret, true}, &item, &prompt)
	if err != nil {
		conn.session = "" // it may be what the service does not know
		return err
	}
	if prompt != noPrompt {
		return errUnusual
	}
	return nil
}

// remove deletes the item, and further ones of the same name that another program may have made.
func (s secretService) remove(ctx context.Context, name string) error {
	const enough = 16
	_, err := s.careful(ctx, func() (string, error) {
		for range enough {
			if err := gokeyring.Delete(service, name); err != nil {
				return "", err
			}
		}
		return "", nil
	})
	if errors.Is(err, ErrNotFound) || errors.Is(err, errNoCollection) {
		return nil
	}
	return err
}

// goKeyring is held while go-keyring is used: it finds its bus through the environment of the
// process.
var goKeyring sync.Mutex

// throughGoKeyring makes a call of go-keyring, which may wait for a person where one may be asked.
func (s secretService) throughGoKeyring(ctx context.Context,
	call func() (string, error)) (string, error) {
	bus, err := findBus(s.sys.Getenv)
	if err != nil {
		return "", err
	}
	goKeyring.Lock()
	defer goKeyring.Unlock()
	pinned, release, err := bus.pin(ctx, s.uid)
	if err != nil {
		return "", err
	}
	defer release()
	defer setenv("DBUS_SESSION_BUS_ADDRESS", pinned.String())()
	return bounded(ctx, s.sys.longest(), func(ctx context.Context) (string, error) {
		if ctx.Err() != nil {
			return "", ended(ctx) // the variable may have been set back
		}
		conn, err := dbus.SessionBus() // the connection that go-keyring will use
		if err != nil {
			return "", unavailable(err)
		}
		defer conn.Close()
		// takes an unanswered prompt away
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		text, err := call()
		return text, goKeyringError(err)
	})
}

// setenv sets a variable of the process and returns what sets it back.
func setenv(name, value string) (restore func()) {
	old, had := os.LookupEnv(name)
	_ = os.Setenv(name, value)
	return func() {
		if had {
			_ = os.Setenv(name, old)
		} else {
			_ = os.Unsetenv(name)
		}
	}
}

// noPrompt is the path that stands for "nobody has to be asked".
const noPrompt = dbus.ObjectPath("/")

// attributes are those by which go-keyring finds an item.
func attributes(name string) map[string]string {
	return map[string]string{"service": service, "username": name}
}

// reply waits for a call and stores its result.
func reply(call *dbus.Call, results ...any) error {
	done := <-call.Done
	return busError(done.Store(results...))
}

// busError gives err a type of this package: ErrTimeout, ErrLocked, ErrUnavailable when the bus or
// the service is not there (any longer), and errUnusual for every other answer.
func busError(err error) error {
	var refusal dbus.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ErrTimeout
	case !errors.As(err, &refusal):
		return fmt.Errorf("%w: asking the Secret Service: %w", ErrUnavailable, err)
	}
	name := strings.TrimPrefix(refusal.Name, "org.freedesktop.DBus.Error.")
	switch {
	case name == "org.freedesktop.Secret.Error.IsLocked":
		return ErrLocked
	case name == "ServiceUnknown", name == "NameHasNoOwner", name == "NoReply", name == "Disconnected",
		name == "AccessDenied", strings.HasPrefix(name, "Spawn."):
		return fmt.Errorf("%w: asking the Secret Service: %s", ErrUnavailable, name)
	}
	return fmt.Errorf("%w: %s", errUnusual, name)
}

// fatal reports whether there is nobody left to ask.
func fatal(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout) }

// goKeyringError gives an error of go-keyring a type of this package.
func goKeyringError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gokeyring.ErrNotFound):
		return notFound("the Secret Service has no such item")
	case errors.Is(err, gokeyring.ErrSetDataTooBig):
		return ErrTooBig
	case strings.Contains(err.Error(), "failed to unlock"): // go-keyring's only sign of a dismissed prompt
		return ErrLocked
	}
	if err := busError(err); !errors.Is(err, errUnusual) {
		return err
	}
	return unavailable(err)
}
