package main

import (
	stded25519 "crypto/ed25519"
	"errors"
	"net"
	"reflect"
	"time"
	"unsafe"

	"github.com/tendermint/tendermint/config"
	"github.com/tendermint/tendermint/crypto/ed25519"
	"github.com/tendermint/tendermint/p2p"
	"github.com/tendermint/tendermint/version"

	"tmp2p.test/interop/harness"
)

// node is a switch put together as the release's own node does it, with one reactor and no address book.
type node struct {
	id        p2p.ID
	address   string
	sw        *p2p.Switch
	transport *p2p.MultiplexTransport
}

func newNode(o harness.Options, log *harness.Log, sessions *harness.Sessions) (harness.Node, error) {
	key := p2p.NodeKey{PrivKey: ed25519.GenPrivKey()}
	if len(o.Seed) > 0 {
		key.PrivKey = ed25519.PrivKey(stded25519.NewKeyFromSeed(o.Seed))
	}
	n := &node{id: key.ID()}
	cfg := config.DefaultP2PConfig()
	cfg.AllowDuplicateIP = o.AllowDuplicateIP
	cfg.MaxNumInboundPeers = o.MaxInbound
	cfg.SendRate = o.SendRate
	cfg.RecvRate = o.RecvRate
	cfg.MaxPacketMsgPayloadSize = o.MaxPacketPayload
	cfg.FlushThrottleTimeout = o.FlushThrottle
	mconn := p2p.MConnConfig(cfg)
	mconn.PingInterval = o.PingInterval
	mconn.PongTimeout = o.PongTimeout

	var info p2p.DefaultNodeInfo
	err := harness.BindFree(o.ListenAddress, func(address string) error {
		info = nodeInfo(o, key.ID(), address)
		n.address = address
		n.transport = p2p.NewMultiplexTransport(info, key, mconn)
		setTimeout(n.transport, "dialTimeout", o.DialTimeout)
		setTimeout(n.transport, "handshakeTimeout", o.HandshakeTimeout)
		p2p.MultiplexTransportConnFilters(connFilters(o)...)(n.transport)
		p2p.MultiplexTransportMaxIncomingConnections(cfg.MaxNumInboundPeers + len(o.Unconditional))(n.transport)
		listen, err := p2p.NewNetAddressString(p2p.IDAddressString(key.ID(), address))
		if err != nil {
			return err
		}
		return n.transport.Listen(*listen)
	})
	if err != nil {
		return nil, err
	}

	n.sw = p2p.NewSwitch(cfg, n.transport, p2p.SwitchPeerFilters(peerFilters(o)...))
	n.sw.SetLogger(logger{log: log})
	n.sw.AddReactor("interop", newReactor(o.Channels, sessions))
	n.sw.SetNodeInfo(info)
	n.sw.SetNodeKey(&key)
	n.sw.SetAddrBook(noBook{})
	if err := n.sw.AddUnconditionalPeerIDs(o.Unconditional); err != nil {
		return nil, err
	}
	return n, n.sw.Start()
}

// connFilters stand in for those of a node: the application is asked about addresses last.
func connFilters(o harness.Options) []p2p.ConnFilterFunc {
	var filters []p2p.ConnFilterFunc
	if !o.AllowDuplicateIP {
		filters = append(filters, p2p.ConnDuplicateIPFilter())
	}
	if o.RefuseIP != "" {
		filters = append(filters, func(_ p2p.ConnSet, _ net.Conn, ips []net.IP) error {
			for _, ip := range ips {
				if ip.String() == o.RefuseIP {
					return errors.New("the connection filter refuses it")
				}
			}
			return nil
		})
	}
	return filters
}

func peerFilters(o harness.Options) []p2p.PeerFilterFunc {
	if o.RefuseID == "" {
		return nil
	}
	return []p2p.PeerFilterFunc{func(_ p2p.IPeerSet, p p2p.Peer) error {
		if string(p.ID()) == o.RefuseID {
			return errors.New("the peer filter refuses it")
		}
		return nil
	}}
}

func nodeInfo(o harness.Options, id p2p.ID, address string) p2p.DefaultNodeInfo {
	info := p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 0),
		DefaultNodeID:   id,
		ListenAddr:      "tcp://" + address,
		Network:         o.ChainID,
		Version:         version.TMCoreSemVer,
		Moniker:         o.Moniker,
		Other:           p2p.DefaultNodeInfoOther{TxIndex: "off"},
	}
	for _, channel := range o.Channels {
		info.Channels = append(info.Channels, channel.ID)
	}
	return info
}

func (n *node) ID() string            { return string(n.id) }
func (n *node) ListenAddress() string { return n.address }

func (n *node) Dial(address string) error {
	netAddress, err := p2p.NewNetAddressString(address)
	if err != nil {
		return err
	}
	return n.sw.DialPeerWithAddress(netAddress)
}

func (n *node) Persist(addresses []string) error { return n.sw.AddPersistentPeers(addresses) }

func (n *node) Stop() error {
	return errors.Join(n.sw.Stop(), n.transport.Close())
}

// setTimeout sets a timeout that the transport has no option for: it ignores those of the configuration.
func setTimeout(transport *p2p.MultiplexTransport, field string, timeout time.Duration) {
	if timeout == 0 {
		return
	}
	value := reflect.ValueOf(transport).Elem().FieldByName(field)
	*(*time.Duration)(unsafe.Pointer(value.UnsafeAddr())) = timeout
}

// noBook is an address book that holds nothing: the switch needs one when it meets itself.
type noBook struct{}

func (noBook) AddAddress(*p2p.NetAddress, *p2p.NetAddress) error { return nil }
func (noBook) AddPrivateIDs([]string)                            {}
func (noBook) AddOurAddress(*p2p.NetAddress)                     {}
func (noBook) OurAddress(*p2p.NetAddress) bool                   { return false }
func (noBook) MarkGood(p2p.ID)                                   {}
func (noBook) RemoveAddress(*p2p.NetAddress)                     {}
func (noBook) HasAddress(*p2p.NetAddress) bool                   { return false }
func (noBook) Save()                                             {}
