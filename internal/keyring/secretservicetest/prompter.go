package secretservicetest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"regexp"
	"testing"

	"github.com/godbus/dbus/v5"
)

const (
	prompterInterface = "org.gnome.keyring.internal.Prompter"
	promptReady       = prompterInterface + ".Callback.PromptReady"
)

// Answer is what becomes of a prompt.
type Answer string

// Answers, as the prompter's protocol spells them.
const (
	Silence  Answer = "" // it stays open
	Refusal  Answer = "no"
	Password Answer = "yes" // the right one
)

// Prompter takes the place of gcr-prompter, the program that shows gnome-keyring's prompts, and
// speaks its protocol.
type Prompter struct {
	// Asked has an element for every prompt.
	Asked  chan struct{}
	conn   *dbus.Conn
	answer Answer
}

// StartPrompter starts a prompter that gives every prompt the same answer.
func (s *Service) StartPrompter(t testing.TB, answer Answer) *Prompter {
	t.Helper()
	conn, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.RequestName("org.gnome.keyring.SystemPrompter",
		dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	p := &Prompter{Asked: make(chan struct{}, 16), conn: conn, answer: answer}
	// Handlers of godbus's kind cannot speak after their own reply, as the protocol wants it.
	messages := make(chan *dbus.Message, 16)
	conn.Eavesdrop(messages)
	go func() {
		for message := range messages {
			p.handle(message)
		}
	}()
	return p
}

// handle replies to a call, and to one that wants a prompt then says what became of it.
func (p *Prompter) handle(call *dbus.Message) {
	if call.Type != dbus.TypeMethodCall {
		return
	}
	sender := call.Headers[dbus.FieldSender]
	headers := map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: sender,
		dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
	}
	p.conn.Send(&dbus.Message{Type: dbus.TypeMethodReply, Headers: headers}, nil)
	reply, exchange := "", ""
	switch call.Headers[dbus.FieldMember].Value() {
	case "BeginPrompting":
	case "PerformPrompt":
		p.Asked <- struct{}{}
		if p.answer == Silence {
			return
		}
		reply = string(p.answer)
		if p.answer == Password {
			exchange = sealed(call.Body[3].(string))
		}
	default:
		return
	}
	p.conn.Object(sender.Value().(string), call.Body[0].(dbus.ObjectPath)).
		Go(promptReady, dbus.FlagNoReplyExpected, nil, reply, map[string]dbus.Variant{},
			exchange)
}

// prime is that of the 1536-bit group of RFC 3526, whose generator is 2.
var prime, _ = new(big.Int).SetString(""+
	"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"+
	"020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"+
	"4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"+
	"EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"+
	"98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"+
	"9ED529077096966D670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF", 16)

var publicKey = regexp.MustCompile(`(?m)^public=(.*)$`)

// sealed is the password, as GcrSecretExchange answers the exchange that the other side has begun.
func sealed(exchange string) string {
	peer, err := base64.StdEncoding.DecodeString(publicKey.FindStringSubmatch(exchange)[1])
	if err != nil {
		panic(err)
	}
	var public, shared []byte
	for len(shared) != prime.BitLen()/8 { // versions of gcr differ about a shorter one
		private, err := rand.Int(rand.Reader, prime)
		if err != nil {
			panic(err)
		}
		public = new(big.Int).Exp(big.NewInt(2), private, prime).Bytes()
		shared = new(big.Int).Exp(new(big.Int).SetBytes(peer), private, prime).Bytes()
	}
	key, err := hkdf.Key(sha256.New, shared, nil, "", aes.BlockSize)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	padding := aes.BlockSize - len(password)%aes.BlockSize
	text := append([]byte(password), bytes.Repeat([]byte{byte(padding)}, padding)...)
	iv := make([]byte, aes.BlockSize)
	_, _ = rand.Read(iv)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("[sx-aes-1]\npublic=%s\nsecret=%s\niv=%s\n", encode(public),
		encode(text), encode(iv))
}
