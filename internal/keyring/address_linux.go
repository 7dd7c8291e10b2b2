package keyring

// BusAddress is the session bus that the Secret Service would be asked over, as D-Bus spells
// addresses; empty on platforms without one. It is ErrUnavailable when the environment names none
// that this program is willing to use. Nothing is connected to.
func BusAddress(getenv func(string) string) (string, error) {
	bus, err := findBus(getenv)
	if err != nil {
		return "", err
	}
	return bus.String(), nil
}
