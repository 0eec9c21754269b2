// Package harness is what the comparison program does whatever release it is built against. It uses the standard
// library only.
package harness

import (
	"crypto/ed25519"
	"time"
)

// Release is one released p2p package; each folder beside this one has its own.
type Release struct {
	Version   string
	NewSwitch func(SwitchOptions, Sink) (Switch, error)
	// Connect makes a connection as a peer does, without a switch, until the listener's side of it runs.
	Connect func(ConnectOptions) (Conn, error)
	Books   BookMaker // without New where there is no address book
	Lacks   Lacks
}

// Lacks says why something cannot be measured of a release; empty where it can.
type Lacks struct {
	Packets  string // a size of packets
	Queues   string // a queue that sends wait in
	Rates    string // limits on the rate
	Throttle string // a flush throttle
	Books    string // an address book
	Delivery string // that each message of which Send says that it was sent arrives
	Note     string // what to know beside a figure of mixed
}

// Channel is one that a switch has, with a reactor of its own.
type Channel struct {
	ID       byte
	Priority int
}

// SwitchOptions are the release's default configuration but for these; duplicate IPs are allowed.
type SwitchOptions struct {
	Address    string // host:port, no port 0
	Network    string
	Channels   []Channel
	MaxInbound int
	Queue      int           // capacity of a send queue
	Packet     int           // largest packet payload
	Rate       int64         // bytes per second both ways, 0 for the default
	Throttle   time.Duration // of flushing, below 0 for the default
}

// IDs are those of the channels.
func (o SwitchOptions) IDs() []byte {
	ids := make([]byte, len(o.Channels))
	for n, channel := range o.Channels {
		ids[n] = channel.ID
	}
	return ids
}

// Peer is the other end of a connection. Send returns false if the message was not taken.
type Peer interface {
	Send(channel byte, payload []byte) bool
}

// Sink is told by a switch's reactors.
type Sink struct {
	Added func(Peer) // once for each peer
	// Received gets what is valid until it returns.
	Received func(from Peer, channel byte, payload []byte)
}

// Switch is one running switch.
type Switch interface {
	ID() string
	// Dial blocks until the peer at id@host:port was added or refused.
	Dial(address string) error
	// Peers is how many are connected.
	Peers() int
	Stop()
}

// ConnectOptions are one dialer's side.
type ConnectOptions struct {
	Address string // host:port
	ID      string // what the listener must prove to be
	Key     ed25519.PrivateKey
	Network string
	Channel byte
	Timeout time.Duration
}

// Conn is a connection without a switch.
type Conn interface {
	// Echo sends a message and waits until the listener has sent it back. Once.
	Echo(payload []byte) error
	Close()
}
