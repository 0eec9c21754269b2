package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/lp2p"
	"github.com/cometbft/cometbft/p2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"tmp2p.test/compare/harness"
	"tmp2p.test/compare/v040/raw"
)

// dialing is how long a dial may take.
const dialing = 10 * time.Second

// node is a switch over libp2p with the release's default configuration and a reactor for each channel.
type node struct {
	host     *lp2p.Host
	sw       *lp2p.Switch
	reactors []*reactor
}

func newSwitch(o harness.SwitchOptions, sink harness.Sink) (harness.Switch, error) {
	cfg := config.DefaultP2PConfig()
	cfg.ListenAddress = "tcp://" + o.Address
	cfg.LibP2PConfig.Enabled = true
	if o.MaxInbound > cfg.MaxNumInboundPeers {
		// The default limits end at fewer connections of one address.
		cfg.LibP2PConfig.Limits.Mode = config.LibP2PLimitsModeDisabled
	}
	host, err := lp2p.NewHost(cfg, ed25519.GenPrivKey(), log.NewNopLogger())
	if err != nil {
		return nil, err
	}
	n := &node{host: host}
	var all []lp2p.SwitchReactor
	for i, channel := range o.Channels {
		r := &reactor{channel: channel, received: sink.Received}
		if i == 0 {
			r.added = sink.Added
		}
		name := fmt.Sprintf("compare %#x", channel.ID)
		r.BaseReactor = *p2p.NewBaseReactor(name, r)
		n.reactors = append(n.reactors, r)
		all = append(all, lp2p.SwitchReactor{Reactor: r, Name: name})
	}
	n.sw, err = lp2p.NewSwitch(p2p.DefaultNodeInfo{}, host, all, p2p.NopMetrics(), log.NewNopLogger())
	if err != nil {
		return nil, err
	}
	return n, n.sw.Start()
}

func (n *node) ID() string { return n.host.ID().String() }

// Dial does what the switch does at its start for each peer in its configuration.
func (n *node) Dial(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialing)
	defer cancel()
	info, err := addrInfo(address)
	if err != nil {
		return err
	}
	if err := n.host.Connect(ctx, info); err != nil {
		return err
	}
	_, err = n.sw.Peers().(*lp2p.PeerSet).Add(info, lp2p.PeerAddOptions{
		OnBeforeStart: func(p *lp2p.Peer) {
			for _, r := range n.reactors {
				r.InitPeer(p)
			}
		},
		OnAfterStart: func(p *lp2p.Peer) {
			for _, r := range n.reactors {
				r.AddPeer(p)
			}
		},
		OnStartFailed: func(*lp2p.Peer, any) {},
	})
	return err
}

func addrInfo(address string) (peer.AddrInfo, error) {
	id, host, _ := strings.Cut(address, "@")
	return lp2p.AddrInfoFromHostAndID(host, id)
}

func (n *node) Peers() int { return len(n.host.Network().Peers()) }

// Stop ignores errors: the process ends, and its results are taken.
func (n *node) Stop() { _ = n.sw.Stop() }

// reactor is told of peers only if it is the first one.
type reactor struct {
	p2p.BaseReactor
	channel  harness.Channel
	added    func(harness.Peer)
	received func(harness.Peer, byte, []byte)
}

func (r *reactor) GetChannels() []*p2p.ChannelDescriptor {
	return []*p2p.ChannelDescriptor{{ID: r.channel.ID, Priority: r.channel.Priority, MessageType: &raw.Message{}}}
}

func (r *reactor) AddPeer(p p2p.Peer) {
	if r.added != nil {
		r.added(other{p})
	}
}

func (r *reactor) Receive(e p2p.Envelope) {
	r.received(other{e.Src}, r.channel.ID, e.Message.(*raw.Message).Payload)
}

type other struct{ p2p.Peer }

func (o other) Send(channel byte, payload []byte) bool {
	return o.Peer.Send(p2p.Envelope{ChannelID: channel, Message: &raw.Message{Payload: payload}})
}
