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
	gosecret "github.com/zalando/go-keyring/secret_service"
)

// Names of the Secret Service API, see https://specifications.freedesktop.org/secret-service/.
const (
	secretsName       = "org.freedesktop.secrets"
	secretsPath       = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService    = "org.freedesktop.Secret.Service."
	secretsItem       = "org.freedesktop.Secret.Item"
	secretsCollection = "org.freedesktop.Secret.Collection"
	secretsPrompt     = "org.freedesktop.Secret.Prompt"
	loginCollection   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	defaultCollection = dbus.ObjectPath("/org/freedesktop/secrets/aliases/default")
	propertiesGet     = "org.freedesktop.DBus.Properties.Get"
)

// secretService keeps items in the collection that go-keyring uses, "login" where there is one,
// else the default, and with the same attributes, so that each finds what the other wrote. Tokens
// are in memory, see isTransient.
// go-keyring's own calls find their bus through the environment of the process, which nothing here
// may change.
//
// What every kubectl call does, and what every mint does, are short exchanges over a connection of
// its own. Whatever is not plain in their answers (a locked collection, two items of one name, a
// prompt) takes a second, careful one.
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
		lifetime:    s.lifetime,
	}, nil
}

// sessionCollection is in memory only: gnome-keyring has it beside those that are files.
const sessionCollection = dbus.ObjectPath("/org/freedesktop/secrets/collection/session")

// lifetime tells where the collection that is written to ends with the session.
func (s secretService) lifetime(ctx context.Context) string {
	isMemory, err := careful(ctx, s,
		func(ctx context.Context, c *caller, collection dbus.ObjectPath) (bool, error) {
			if collection != defaultCollection {
				return false, nil
			}
			var path dbus.ObjectPath
			err := c.ask(ctx, c.service, secretsService+"ReadAlias", []any{"default"},
				&path)
			return path == sessionCollection, err
		})
	if err != nil || !isMemory {
		return ""
	}
	return "until this session ends"
}

// check reports whether a secret can be kept now, and lets a person unlock the collection for that.
func (s secretService) check(ctx context.Context) error {
	_, err := careful(ctx, s,
		func(context.Context, *caller, dbus.ObjectPath) (ok struct{}, err error) { return })
	return err
}

func (s secretService) read(ctx context.Context, name string) ([]byte, error) {
	value, err := s.quickLookup(ctx, name)
	if !errors.Is(err, errUnusual) && !errors.Is(err, ErrLocked) {
		return value, err
	}
	return careful(ctx, s,
		func(ctx context.Context, c *caller, collection dbus.ObjectPath) ([]byte, error) {
			items, err := c.items(ctx, collection, name)
			if err != nil {
				return nil, err
			}
			if err := c.unlock(ctx, items[0]); err != nil {
				return nil, err
			}
			return c.secret(ctx, items[0])
		})
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
	if errors.Is(err, ErrLocked) {
		if err := s.check(ctx); err != nil {
			return nil, err
		}
		return bounded(ctx, s.sys.Limits.Call, s.list)
	}
	return names, err
}

// careful makes an exchange with the collection that go-keyring writes to: as one that waits for no
// person, and where that is not enough again, with the person where one may be asked.
func careful[T any](ctx context.Context, s secretService,
	exchange func(context.Context, *caller, dbus.ObjectPath) (T, error)) (T, error) {
	try := func(person bool) func(context.Context) (T, error) {
		return func(ctx context.Context) (value T, err error) {
			conn, err := s.connect(ctx)
			if err != nil {
				return value, err
			}
			defer s.leave(conn)
			conn.person = person
			if err := conn.introduce(ctx); err != nil {
				return value, err
			}
			collection, err := conn.collection(ctx)
			// One without a password needs no person. Two prompts of one call are one
			// too many.
			if errors.Is(err, ErrLocked) && person == s.sys.Interactive {
				err = conn.unlock(ctx, collection)
			}
			if err != nil {
				return value, err
			}
			return exchange(ctx, conn, collection)
		}
	}
	var value T
	err := uninterrupted(func() (err error) {
		value, err = bounded(ctx, s.sys.Limits.Call, try(false))
		return err
	})
	if errors.Is(err, errUnusual) || s.sys.Interactive && errors.Is(err, ErrLocked) {
		asking.Lock()
		defer asking.Unlock()
		value, err = bounded(ctx, s.sys.longest(), try(s.sys.Interactive))
	}
	if errors.Is(err, errUnusual) {
		err = unavailable(err)
	}
	return value, err
}

// asking is held while a person may be asked: gnome-keyring shows no prompt any more, to nobody,
// once one was dismissed while two were waiting.
var asking sync.Mutex

// errUnusual means that the short exchange met something that needs a careful one.
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
	person  bool            // one may be asked
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
		err = c.ask(ctx, c.service, secretsService+"SearchItems", []any{attributes},
			&unlocked,
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
	err := c.ask(ctx, c.service, secretsService+"OpenSession", []any{"plain",
		dbus.MakeVariant("")},
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
	case len(unlocked)+len(locked) > 0:
		item, isOne := found(name, unlocked, locked)
		if !isOne {
			return nil, errUnusual
		}
		return conn.secret(ctx, item)
	}
	if isToken(name) { // which is minted then, and asked for no more than it has to be
		return nil, errNoItem
	}
	// Some services hide the items of a locked collection.
	if err := conn.state(ctx); err != nil && !errors.Is(err, errNoCollection) {
		return nil, err
	}
	return nil, errNoItem
}

var errNoItem error = &reason{&ErrNotFound, "the Secret Service has no such item"}

// items returns the items of one name in a collection, or errNoItem.
func (c *caller) items(ctx context.Context, collection dbus.ObjectPath,
	name string) (items []dbus.ObjectPath, err error) {
	err = c.ask(ctx, c.Object(secretsName, collection), secretsCollection+".SearchItems",
		[]any{attributes(name)}, &items)
	if err == nil && len(items) == 0 {
		err = errNoItem
	}
	return items, err
}

func (c *caller) secret(ctx context.Context, item dbus.ObjectPath) ([]byte, error) {
	session, err := c.openSession(ctx)
	if err != nil {
		return nil, err
	}
	var secret gosecret.Secret
	err = c.ask(ctx, c.Object(secretsName, item), secretsItem+".GetSecret", []any{session},
		&secret)
	if errors.Is(err, errUnusual) { // the item may be gone since the search
		c.session = "" // or it may be what the service does not know
	}
	return secret.Value, err
}

// list returns the names of the items, or ErrLocked when some cannot be seen. That of one which is
// deleted meanwhile is empty.
func (s secretService) list(ctx context.Context) ([]string, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave(conn)
	items, err := conn.all(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for some := range slices.Chunk(items, askedAtOnce) {
		more, err := conn.usernames(ctx, some)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	return names, nil
}

// all are the items of this program, or ErrLocked when some cannot be seen.
func (c *caller) all(ctx context.Context) ([]dbus.ObjectPath, error) {
	unlocked, locked, err := c.search(ctx, map[string]string{"service": service})
	if err != nil {
		return nil, err
	}
	if len(locked) > 0 {
		return nil, ErrLocked
	}
	if len(unlocked) == 0 {
		if err := c.state(ctx); err != nil && !errors.Is(err, errNoCollection) {
			return nil, err
		}
	}
	return unlocked, nil
}

// askedAtOnce is below what a bus refuses to keep track of for one caller: dbus-daemon's own limit
// is 128.
const askedAtOnce = 64

// usernames are those of the items, at most askedAtOnce. That of one which is gone is empty.
func (c *caller) usernames(ctx context.Context, items []dbus.ObjectPath) ([]string, error) {
	names := make([]string, len(items))
	return names, c.askAll(ctx, items, propertiesGet, []any{secretsItem, "Attributes"},
		func(i int, call *dbus.Call) error {
			var attributes map[string]string
			err := reply(call, &attributes)
			names[i] = attributes["username"]
			if fatal(err) {
				return err
			}
			return nil
		})
}

// askAll makes the same call to each of the items, at most askedAtOnce, and waits for nothing
// before the last is made. It ends with the first error that take returns.
func (c *caller) askAll(ctx context.Context, items []dbus.ObjectPath, method string,
	arguments []any, take func(i int, call *dbus.Call) error) error {
	c.pending = true
	calls := make([]*dbus.Call, len(items))
	for i, item := range items {
		calls[i] = c.Object(secretsName, item).GoWithContext(ctx, method, 0, nil,
			arguments...)
	}
	for i, call := range calls {
		if err := take(i, call); err != nil {
			return err
		}
	}
	c.pending = ctx.Err() != nil
	return nil
}

// errNoCollection means that a Secret Service runs that has nowhere to put a secret, as
// gnome-keyring has where nobody ever logged in with a password.
var errNoCollection error = &reason{&ErrNoCollection, "no login keyring was ever created"}

// state reports whether a secret can be kept now: nil, ErrLocked, errNoCollection or another
// ErrUnavailable.
func (c *caller) state(ctx context.Context) error {
	_, err := c.collection(ctx)
	return err
}

// collection returns the collection that go-keyring writes to, and what state reports. The default
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
			return path, ErrLocked
		case err == nil:
			return path, nil
		}
	}
	return "", errNoCollection
}

// write stores the item. Where the collection is unlocked, that is a session and one CreateItem, as
// go-keyring makes it after nine round trips more.
func (s secretService) write(ctx context.Context, name string, value []byte, _ time.Time) error {
	if isToken(name) {
		if err := s.writeTransient(ctx, name, value); !errors.Is(err, errUnusual) {
			return err
		}
	}
	_, err := careful(ctx, s,
		func(ctx context.Context, c *caller, collection dbus.ObjectPath) (struct{}, error) {
			return struct{}{}, c.create(ctx, collection, name, value)
		})
	return err
}

func (c *caller) create(ctx context.Context, collection dbus.ObjectPath, name string,
	value []byte) error {
	session, err := c.openSession(ctx)
	if err != nil {
		return err
	}
	properties := map[string]dbus.Variant{
		secretsItem + ".Label": dbus.MakeVariant(fmt.Sprintf("Password for '%s' on '%s'",
			name,
			service)),
		secretsItem + ".Attributes": dbus.MakeVariant(attributes(name)),
	}
	var item, prompt dbus.ObjectPath
	err = c.ask(ctx, c.Object(secretsName, collection), secretsCollection+".CreateItem",
		[]any{properties, gosecret.NewSecret(session, string(value)), true}, &item, &prompt)
	if err != nil {
		c.session = "" // it may be what the service does not know
		return err
	}
	_, err = c.answer(ctx, prompt)
	return err
}

// remove deletes the item, and further ones of the same name that another program may have made.
func (s secretService) remove(ctx context.Context, name string) error {
	if isToken(name) {
		isAll, err := s.removeTransient(ctx, name)
		if isAll || err != nil && !errors.Is(err, errUnusual) {
			return err
		}
	}
	_, err := careful(ctx, s,
		func(ctx context.Context, c *caller, collection dbus.ObjectPath) (struct{}, error) {
			items, err := c.items(ctx, collection, name)
			for _, item := range items {
				if err = c.drop(ctx, item); err != nil {
					break
				}
			}
			return struct{}{}, err
		})
	if errors.Is(err, ErrNotFound) || errors.Is(err, errNoCollection) {
		return nil
	}
	return err
}

func (c *caller) drop(ctx context.Context, item dbus.ObjectPath) error {
	var prompt dbus.ObjectPath
	err := c.ask(ctx, c.Object(secretsName, item), secretsItem+".Delete", nil, &prompt)
	if err != nil {
		return err
	}
	_, err = c.answer(ctx, prompt)
	return err
}

// unlock unlocks a collection or an item.
func (c *caller) unlock(ctx context.Context, object dbus.ObjectPath) error {
	var unlocked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	if err := c.ask(ctx, c.service, secretsService+"Unlock", []any{[]dbus.ObjectPath{object}},
		&unlocked, &prompt); err != nil {
		return err
	}
	result, err := c.answer(ctx, prompt)
	if err != nil {
		return err
	}
	if more, _ := result.Value().([]dbus.ObjectPath); len(unlocked)+len(more) == 0 {
		return ErrLocked
	}
	return nil
}

// answer shows a prompt of the service, if there is one, and returns its result. It is ErrLocked
// when the person dismisses it, or may not be asked.
//
// A prompt that nobody answers goes away with its caller. There is a method Dismiss for that, too,
// but gnome-keyring ends, with everybody's secrets, when it is called for a prompt that is shown.
func (c *caller) answer(ctx context.Context, prompt dbus.ObjectPath) (result dbus.Variant,
	err error) {
	if prompt == noPrompt {
		return result, nil
	}
	defer func() { c.pending = c.pending || err != nil }()
	if !c.person {
		return result, ErrLocked
	}
	// A deadline of the socket would look like a bus that went away.
	if err := c.bound(context.WithoutCancel(ctx)); err != nil {
		return result, unavailable(err)
	}
	signals := make(chan *dbus.Signal, 1)
	c.Signal(signals)
	defer c.RemoveSignal(signals)
	if err := c.AddMatchSignalContext(ctx, dbus.WithMatchSender(secretsName),
		dbus.WithMatchObjectPath(prompt)); err != nil {
		return result, busError(err)
	}
	if err := c.ask(ctx, c.Object(secretsName, prompt), secretsPrompt+".Prompt",
		[]any{""}); err != nil {
		return result, err
	}
	return completed(ctx, prompt, signals)
}

// completed waits for the end of a prompt.
func completed(ctx context.Context, prompt dbus.ObjectPath,
	signals <-chan *dbus.Signal) (result dbus.Variant, err error) {
	for {
		select {
		case <-ctx.Done():
			return result, ended(ctx)
		case signal, ok := <-signals:
			if !ok {
				return result, unavailable(dbus.ErrClosed)
			}
			if signal.Path != prompt || signal.Name != secretsPrompt+".Completed" {
				continue
			}
			var dismissed bool
			err = busError(dbus.Store(signal.Body, &dismissed, &result))
			if dismissed {
				err = ErrLocked
			}
			return result, err
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
	case name == "ServiceUnknown", name == "NameHasNoOwner", name == "NoReply",
		name == "Disconnected",
		name == "AccessDenied", strings.HasPrefix(name, "Spawn."):
		return fmt.Errorf("%w: asking the Secret Service: %s", ErrUnavailable, name)
	}
	return fmt.Errorf("%w: %s", errUnusual, name)
}

// fatal reports whether there is nobody left to ask.
func fatal(err error) bool { return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout) }
