// Package harness is what the comparison program does whatever release it is built against. It uses the standard
// library only.
package harness

import (
	"crypto/ed25519"
	"net"
)

// Release is one released p2p package; `v034` and `v038` have one each.
type Release struct {
	Version   string
	NewSwitch func(SwitchOptions, Sink) (Switch, error)
	// Handshake makes the secret connection, exchanges node infos and waits for the answer to one ping, with the
	// release's own code. It closes nothing.
	Handshake func(Handshake) error
	Books     BookMaker
}

// SwitchOptions are the release's default configuration but for these; duplicate IPs are allowed.
type SwitchOptions struct {
	Address    string // host:port, no port 0
	Network    string
	Channel    byte
	MaxInbound int
	Queue      int   // capacity of the send queue
	Packet     int   // largest packet payload
	Rate       int64 // bytes per second both ways, 0 for the default
}

// Sink is told by the switch's only reactor.
type Sink struct {
	Added    func(send func(payload []byte) bool)
	Received func(bytes int)
}

// Switch is one running switch.
type Switch interface {
	ID() string
	// Dial blocks until the peer at id@host:port was added or refused.
	Dial(address string) error
	Stop()
}

// Handshake is one dialer's side.
type Handshake struct {
	Conn    net.Conn
	Key     ed25519.PrivateKey
	ID      string // what the listener must prove to be
	Network string
	Channel byte
}
