package main

import (
	"fmt"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/version"

	"tmp2p.test/compare/harness"
	"tmp2p.test/compare/v040/raw"
)

// node is a switch with the release's default configuration and a reactor for each channel.
type node struct {
	id        p2p.ID
	sw        *p2p.Switch
	transport *p2p.MultiplexTransport
}

func newSwitch(o harness.SwitchOptions, sink harness.Sink) (harness.Switch, error) {
	key := p2p.NodeKey{PrivKey: ed25519.GenPrivKey()}
	cfg := config.DefaultP2PConfig()
	cfg.AllowDuplicateIP = true
	cfg.MaxNumInboundPeers = o.MaxInbound
	cfg.MaxPacketMsgPayloadSize = o.Packet
	if o.Rate > 0 {
		cfg.SendRate, cfg.RecvRate = o.Rate, o.Rate
	}
	if o.Throttle >= 0 {
		cfg.FlushThrottleTimeout = o.Throttle
	}
	info := nodeInfo(key.ID(), o.Address, o.Network, o.IDs())
	n := &node{id: key.ID(), transport: p2p.NewMultiplexTransport(info, key, p2p.MConnConfig(cfg))}
	listen, err := p2p.NewNetAddressString(p2p.IDAddressString(key.ID(), o.Address))
	if err != nil {
		return nil, err
	}
	if err := n.transport.Listen(*listen); err != nil {
		return nil, err
	}
	n.sw = p2p.NewSwitch(cfg, n.transport)
	for i, channel := range o.Channels {
		r := &reactor{channel: channel, queue: o.Queue, received: sink.Received}
		if i == 0 {
			r.added = sink.Added
		}
		name := fmt.Sprintf("compare %#x", channel.ID)
		r.BaseReactor = *p2p.NewBaseReactor(name, r)
		n.sw.AddReactor(name, r)
	}
	n.sw.SetNodeInfo(info)
	n.sw.SetNodeKey(&key)
	return n, n.sw.Start()
}

func nodeInfo(id p2p.ID, address, network string, channels []byte) p2p.DefaultNodeInfo {
	return p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 0),
		DefaultNodeID:   id,
		ListenAddr:      "tcp://" + address,
		Network:         network,
		Version:         version.TMCoreSemVer,
		Channels:        channels,
		Moniker:         "compare",
		Other:           p2p.DefaultNodeInfoOther{TxIndex: "off"},
	}
}

func (n *node) ID() string { return string(n.id) }

func (n *node) Dial(address string) error {
	netAddress, err := p2p.NewNetAddressString(address)
	if err != nil {
		return err
	}
	return n.sw.DialPeerWithAddress(netAddress)
}

func (n *node) Peers() int { return n.sw.Peers().Size() }

// Stop ignores errors: the process ends, and its results are taken.
func (n *node) Stop() {
	_ = n.sw.Stop()
	_ = n.transport.Close()
}

// reactor is told of peers only if it is the first one.
type reactor struct {
	p2p.BaseReactor
	channel  harness.Channel
	queue    int
	added    func(harness.Peer)
	received func(harness.Peer, byte, []byte)
}

func (r *reactor) GetChannels() []*p2p.ChannelDescriptor {
	return []*p2p.ChannelDescriptor{{
		ID: r.channel.ID, Priority: r.channel.Priority, SendQueueCapacity: r.queue, MessageType: &raw.Message{},
	}}
}

func (r *reactor) AddPeer(p p2p.Peer) {
	if r.added != nil {
		r.added(peer{p})
	}
}

func (r *reactor) Receive(e p2p.Envelope) {
	r.received(peer{e.Src}, r.channel.ID, e.Message.(*raw.Message).Payload)
}

type peer struct{ p2p.Peer }

func (p peer) Send(channel byte, payload []byte) bool {
	return p.Peer.Send(p2p.Envelope{ChannelID: channel, Message: &raw.Message{Payload: payload}})
}
