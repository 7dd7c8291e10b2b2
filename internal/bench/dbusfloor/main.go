// Command dbusfloor is the yardstick for a hit in the Secret Service: a program that does nothing
// but the short D-Bus exchange, with godbus as it comes. It connects, sends OpenSession and
// SearchItems together, reads the item and prints it. The benchmark compares the whole process
// with the whole process of `get`.
//
// It is no part of the product: no limits, no checks of the bus, no fallback.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"
)

const (
	destination = "org.freedesktop.secrets"
	path        = dbus.ObjectPath("/org/freedesktop/secrets")
	service     = "org.freedesktop.Secret.Service."
)

// secret is the structure (oayays) of the Secret Service API.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dbusfloor KEY")
		os.Exit(2)
	}
	value, err := lookup(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dbusfloor: error:", err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(value)
}

func lookup(key string) ([]byte, error) {
	conn, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		return nil, err
	}
	object := conn.Object(destination, path)
	open := object.Go(service+"OpenSession", 0, nil, "plain", dbus.MakeVariant(""))
	search := object.Go(service+"SearchItems", 0, nil, map[string]string{
		"service":  "sa-exec-credential",
		"username": key,
	})

	var output dbus.Variant
	var session dbus.ObjectPath
	if err := (<-open.Done).Store(&output, &session); err != nil {
		return nil, err
	}
	var unlocked, locked []dbus.ObjectPath
	if err := (<-search.Done).Store(&unlocked, &locked); err != nil {
		return nil, err
	}
	if len(unlocked) == 0 {
		return nil, errors.New("not found")
	}
	var found secret
	err = conn.Object(destination, unlocked[0]).Call("org.freedesktop.Secret.Item.GetSecret", 0,
		session).Store(&found)
	return found.Value, err
}
