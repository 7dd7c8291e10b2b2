package keyring

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	gosecret "github.com/zalando/go-keyring/secret_service"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

func lockedService(t *testing.T) (*secretservicetest.Service, System) {
	t.Helper()
	service := secretservicetest.New(t)
	sys := testService(service)
	mustSet(t, openService(t, sys), lastingKey, "t")
	if err := service.Lock(); err != nil {
		t.Fatal(err)
	}
	sys.Interactive = true
	return service, sys
}

// promptingCalls are all calls that can end in a prompt.
var promptingCalls = map[string]func(context.Context, Store) error{
	"probing": func(ctx context.Context, s Store) error { return s.(prober).probe(ctx) },
	"getting": func(ctx context.Context, s Store) error {
		_, err := s.Get(ctx, lastingKey)
		return err
	},
	"setting": func(ctx context.Context, s Store) error {
		return s.Set(ctx, lastingKey, liveEntry("new"))
	},
	"deleting": func(ctx context.Context, s Store) error { return s.Delete(ctx, lastingKey) },
	"listing":  func(ctx context.Context, s Store) error { _, err := s.Keys(ctx); return err },
}

// wantLeft wants the item of lastingKey as the call leaves it that has been done, or has not.
func wantLeft(t *testing.T, s Store, call string, done bool) {
	t.Helper()
	switch {
	case done && call == "deleting":
		_, err := s.Get(t.Context(), lastingKey)
		wantError(t, "getting the deleted item", err, ErrNotFound)
	case done && call == "setting":
		wantToken(t, s, lastingKey, "new")
	default:
		wantToken(t, s, lastingKey, "t")
	}
}

func TestSecretServiceUnlocksTheCollectionByAPrompt(t *testing.T) {
	for name, call := range promptingCalls {
		t.Run(name, func(t *testing.T) {
			service, sys := lockedService(t)
			prompter := service.StartPrompter(t, secretservicetest.Password)
			wantError(t, name, call(t.Context(), openService(t, sys)), nil)
			if asked := len(prompter.Asked); asked != 1 {
				t.Errorf("the person was asked %d times", asked)
			}
			wantLeft(t, openService(t, testService(service)), name, true)
		})
	}
}

// gnome-keyring shows no prompt any more, to nobody, once one was dismissed while two were waiting.
func TestSecretServicePromptsAreShownOneByOne(t *testing.T) {
	const calls = 8
	for answer, want := range map[secretservicetest.Answer]error{
		secretservicetest.Password: nil,
		secretservicetest.Refusal:  ErrLocked,
	} {
		service, sys := lockedService(t)
		prompter := service.StartPrompter(t, answer)
		var wait sync.WaitGroup
		for range calls {
			wait.Go(func() {
				_, err := openService(t, sys).Get(t.Context(), lastingKey)
				wantError(t, "getting", err, want)
			})
		}
		wait.Wait()
		prompts := calls
		if want == nil {
			prompts = 1 // its answer is good for all
		}
		if asked := len(prompter.Asked); asked != prompts {
			t.Errorf("%d prompts end in %v", asked, want)
		}
	}
}

func TestSecretServicePromptThatIsDismissedMeansLocked(t *testing.T) {
	service, sys := lockedService(t)
	prompter := service.StartPrompter(t, secretservicetest.Refusal)
	for name, call := range promptingCalls {
		wantError(t, name, call(t.Context(), openService(t, sys)), ErrLocked)
	}
	if asked := len(prompter.Asked); asked != len(promptingCalls) {
		t.Errorf("the person was asked %d times", asked)
	}
}

func TestSecretServicePromptThatIsNeverAnsweredTimesOut(t *testing.T) {
	for name, call := range promptingCalls {
		t.Run(name, func(t *testing.T) {
			service, sys := lockedService(t)
			prompter := service.StartPrompter(t, secretservicetest.Silence)
			sys.Limits.Call, sys.Limits.Prompt = time.Second, time.Second
			wantError(t, name, call(t.Context(), openService(t, sys)), ErrTimeout)
			select {
			case <-prompter.Asked:
			case <-time.After(30 * time.Second):
				t.Error("nobody was asked")
			}
			// gnome-keyring is there for others after its caller left under a prompt.
			wantAll(t, openService(t, testService(service)), ErrLocked)
		})
	}
}

func TestSecretServicePromptThatCannotBeShownMeansLocked(t *testing.T) {
	_, sys := lockedService(t)
	wantAll(t, openService(t, sys), ErrLocked)
}

func TestSecretServiceNobodyIsAskedUnlessThatIsWished(t *testing.T) {
	service, sys := lockedService(t)
	prompter := service.StartPrompter(t, secretservicetest.Password)
	sys.Interactive = false
	wantAll(t, openService(t, sys), ErrLocked)
	if len(prompter.Asked) != 0 {
		t.Error("a person was asked")
	}
}

func TestSecretServiceSurvivesABusThatGoesAwayUnderAPrompt(t *testing.T) {
	service, sys := lockedService(t)
	prompter := service.StartPrompter(t, secretservicetest.Silence)
	done := make(chan error)
	go func() {
		_, err := openService(t, sys).Get(t.Context(), lastingKey)
		done <- err
	}()
	select {
	case <-prompter.Asked:
	case err := <-done:
		t.Fatalf("nobody was asked: %v", err)
	}
	service.StopBus()
	wantError(t, "getting", <-done, ErrUnavailable)
}

// demanding is a Secret Service that wants a person's consent to whatever happens to its one item.
// The API allows for that; gnome-keyring has prompts for a whole collection only.
type demanding struct {
	conn   *dbus.Conn
	answer secretservicetest.Answer
	shown  chan dbus.Sender // who showed a prompt

	mutex  sync.Mutex
	value  []byte // nil: there is no item
	open   bool   // the item may be read
	action func() any
}

const (
	demandingItem   = loginCollection + "/1"
	demandingPrompt = dbus.ObjectPath("/org/freedesktop/secrets/prompt/1")
)

func startDemanding(t *testing.T, answer secretservicetest.Answer) (*demanding, System) {
	t.Helper()
	bus := secretservicetest.NewBus(t)
	conn, err := bus.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &demanding{conn: conn, answer: answer, value: encoded(t, lastingKey, "t"),
		shown: make(chan dbus.Sender, 16)}
	d.export(t)
	if _, err := conn.RequestName(secretsName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	sys := testService(bus)
	sys.Interactive = true
	return d, sys
}

func (d *demanding) export(t *testing.T) {
	t.Helper()
	for _, object := range []struct {
		path    dbus.ObjectPath
		name    string
		methods map[string]any
	}{
		{secretsPath, strings.TrimSuffix(secretsService, "."), map[string]any{
			"ReadAlias": d.alias, "OpenSession": d.session, "SearchItems": d.search,
			"Unlock": d.unlock}},
		{loginCollection, strings.TrimSuffix(propertiesGet, ".Get"),
			map[string]any{"Get": d.locked}},
		{loginCollection, secretsCollection, map[string]any{
			"SearchItems": d.searchCollection, "CreateItem": d.create}},
		{demandingItem, secretsItem, map[string]any{
			"GetSecret": d.secret, "Delete": d.drop}},
		{demandingItem, strings.TrimSuffix(propertiesGet, ".Get"),
			map[string]any{"Get": d.attributes}},
		{demandingPrompt, secretsPrompt, map[string]any{"Prompt": d.prompt}},
	} {
		err := d.conn.ExportMethodTable(object.methods, object.path, object.name)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (d *demanding) alias(string) (dbus.ObjectPath, *dbus.Error) { return loginCollection, nil }

func (d *demanding) locked(_, _ string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant(false), nil
}

func (d *demanding) attributes(_, _ string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant(attributes(lastingKey)), nil
}

func (d *demanding) session(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), "/session", nil
}

func (d *demanding) search(map[string]string) (unlocked, locked []dbus.ObjectPath,
	_ *dbus.Error) {
	items, _ := d.searchCollection(nil)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.open {
		return items, nil, nil
	}
	return nil, items, nil
}

func (d *demanding) searchCollection(map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.value == nil {
		return nil, nil
	}
	return []dbus.ObjectPath{demandingItem}, nil
}

// demand makes a prompt for an action, whose result is that of the prompt.
func (d *demanding) demand(action func() any) dbus.ObjectPath {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.action = action
	return demandingPrompt
}

func (d *demanding) unlock([]dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	return nil, d.demand(func() any {
		d.open = true
		return []dbus.ObjectPath{demandingItem}
	}), nil
}

func (d *demanding) create(_ map[string]dbus.Variant, secret gosecret.Secret,
	_ bool) (item, prompt dbus.ObjectPath, _ *dbus.Error) {
	return noPrompt, d.demand(func() any { d.value = secret.Value; return demandingItem }), nil
}

func (d *demanding) drop() (dbus.ObjectPath, *dbus.Error) {
	return d.demand(func() any { d.value = nil; return "" }), nil
}

func (d *demanding) secret(session dbus.ObjectPath) (gosecret.Secret, *dbus.Error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if !d.open {
		return gosecret.Secret{}, &dbus.Error{Name: "org.freedesktop.Secret.Error.IsLocked"}
	}
	return gosecret.NewSecret(session, string(d.value)), nil
}

func (d *demanding) prompt(caller dbus.Sender, _ string) *dbus.Error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.shown <- caller
	if d.answer == secretservicetest.Silence {
		return nil
	}
	var result any = ""
	dismissed := d.answer == secretservicetest.Refusal
	if !dismissed {
		result = d.action()
	}
	// A signal of another name says nothing about the prompt.
	_ = d.conn.Emit(demandingPrompt, secretsPrompt+".Moved", !dismissed, dbus.MakeVariant(""))
	_ = d.conn.Emit(demandingPrompt, secretsPrompt+".Completed", dismissed,
		dbus.MakeVariant(result))
	return nil
}

// wantGone waits until a caller, and with it its prompt, has left the bus.
func (d *demanding) wantGone(t *testing.T, caller dbus.Sender) {
	t.Helper()
	eventually(t, func() error {
		var there bool
		err := d.conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0,
			string(caller)).Store(&there)
		if there {
			err = errors.New("the caller keeps its prompt")
		}
		return err
	})
}

// wantLeft is wantLeft for a service that tells nobody what it holds.
func (d *demanding) wantLeft(t *testing.T, call string, done bool) {
	t.Helper()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if done && call == "deleting" {
		if d.value != nil {
			t.Error("the item is still there")
		}
		return
	}
	want := "t"
	if done && call == "setting" {
		want = "new"
	}
	if entry, err := Decode(lastingKey, d.value); err != nil || entry.Token.Reveal() != want {
		t.Errorf("the item is %q, %v, want %q", entry.Token.Reveal(), err, want)
	}
}

func TestSecretServicePromptsForOneItem(t *testing.T) {
	answers := map[secretservicetest.Answer]error{
		secretservicetest.Password: nil,
		secretservicetest.Refusal:  ErrLocked,
		secretservicetest.Silence:  context.Canceled,
	}
	for _, name := range []string{"getting", "setting", "deleting"} {
		for answer, want := range answers {
			t.Run(name+" "+string(answer), func(t *testing.T) {
				d, sys := startDemanding(t, answer)
				ctx, giveUp := context.WithCancel(t.Context())
				defer giveUp()
				s := openService(t, sys)
				result := make(chan error)
				go func() { result <- promptingCalls[name](ctx, s) }()
				var caller dbus.Sender
				select {
				case caller = <-d.shown:
				case err := <-result:
					t.Fatalf("nobody was asked: %v", err)
				}
				if answer == secretservicetest.Silence {
					giveUp()
				}
				wantError(t, name, <-result, want)
				if want != nil {
					d.wantGone(t, caller)
				}
				d.wantLeft(t, name, want == nil)
			})
		}
	}
}

func TestSecretServiceNobodyIsAskedForAnItemUnlessThatIsWished(t *testing.T) {
	d, sys := startDemanding(t, secretservicetest.Password)
	sys.Interactive = false
	s := openService(t, sys)
	for _, name := range []string{"getting", "setting", "deleting"} {
		wantError(t, name, promptingCalls[name](t.Context(), s), ErrLocked)
		d.wantLeft(t, name, false)
	}
	if len(d.shown) != 0 {
		t.Error("a person was asked")
	}
}
