package main

import (
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/version"

	"tmp2p.test/compare/harness"
)

// node is a switch with the release's default configuration and one reactor.
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
	info := nodeInfo(key.ID(), o.Address, o.Network, o.Channel)
	n := &node{id: key.ID(), transport: p2p.NewMultiplexTransport(info, key, p2p.MConnConfig(cfg))}
	listen, err := p2p.NewNetAddressString(p2p.IDAddressString(key.ID(), o.Address))
	if err != nil {
		return nil, err
	}
	if err := n.transport.Listen(*listen); err != nil {
		return nil, err
	}
	r := &reactor{channel: o.Channel, queue: o.Queue, sink: sink}
	r.BaseReactor = *p2p.NewBaseReactor("compare", r)
	n.sw = p2p.NewSwitch(cfg, n.transport)
	n.sw.AddReactor("compare", r)
	n.sw.SetNodeInfo(info)
	n.sw.SetNodeKey(&key)
	return n, n.sw.Start()
}

func nodeInfo(id p2p.ID, address, network string, channel byte) p2p.DefaultNodeInfo {
	return p2p.DefaultNodeInfo{
		ProtocolVersion: p2p.NewProtocolVersion(version.P2PProtocol, version.BlockProtocol, 0),
		DefaultNodeID:   id,
		ListenAddr:      "tcp://" + address,
		Network:         network,
		Version:         version.TMCoreSemVer,
		Channels:        []byte{channel},
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

// Stop ignores errors: the process ends, and its results are taken.
func (n *node) Stop() {
	_ = n.sw.Stop()
	_ = n.transport.Close()
}

type reactor struct {
	p2p.BaseReactor
	channel byte
	queue   int
	sink    harness.Sink
}

func (r *reactor) GetChannels() []*p2p.ChannelDescriptor {
	return []*p2p.ChannelDescriptor{{
		ID: r.channel, Priority: 1, SendQueueCapacity: r.queue, MessageType: &raw{},
	}}
}

func (r *reactor) AddPeer(p p2p.Peer) {
	r.sink.Added(func(payload []byte) bool {
		return p.Send(p2p.Envelope{ChannelID: r.channel, Message: &raw{payload}})
	})
}

func (r *reactor) Receive(e p2p.Envelope) {
	r.sink.Received(len(e.Message.(*raw).payload))
}
