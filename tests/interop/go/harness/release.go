// Package harness is everything of the interop peer that does not depend on the release it is built against:
// flags, commands, events, test payloads and book-keeping. It uses the standard library only.
package harness

// Release builds a node on one released p2p package; `v034` and `v038` have one each.
type Release struct {
	Version string
	New     func(Options, *Log, *Sessions) (Node, error)
	// Judge tells in a line what the release makes of bytes of this kind.
	Judge func(kind string, data []byte) string
}

// Node is one running switch with its listener.
type Node interface {
	ID() string
	// ListenAddress is host:port, with the port that was really bound.
	ListenAddress() string
	// Dial blocks until the peer was added or refused.
	Dial(address string) error
	// Persist makes these the persistent peers, in place of others, and dials none of them.
	Persist(addresses []string) error
	Stop() error
}

// Peer is one session of the switch.
type Peer interface {
	ID() string
	IsOutbound() bool
	IsRunning() bool
	// IsListed tells whether this very session is in the switch's set of peers.
	IsListed() bool
	// SocketAddress is id@host:port of the socket's other end.
	SocketAddress() string
	NodeInfo() NodeInfo
	Send(channel byte, payload []byte) bool
	TrySend(channel byte, payload []byte) bool
	Queues() []Queue
	StopGracefully()
	StopForError(reason string)
	// FlushStop writes what was accepted, then closes, then removes the peer: what a seed does after its answer.
	FlushStop()
}

// NodeInfo is what the other side announced.
type NodeInfo struct {
	Moniker    string `json:"moniker"`
	Network    string `json:"network"`
	Version    string `json:"version"`
	Channels   string `json:"channels"` // hex
	ListenAddr string `json:"listen_addr"`
	P2P        uint64 `json:"p2p"`
	Block      uint64 `json:"block"`
	App        uint64 `json:"app"`
	TxIndex    string `json:"tx_index"`
	RPCAddress string `json:"rpc_address"`
}

// Queue is the state of one channel's send queue.
type Queue struct {
	Channel      byte  `json:"channel"`
	Size         int   `json:"size"`
	Capacity     int   `json:"capacity"`
	RecentlySent int64 `json:"recently_sent"`
}
