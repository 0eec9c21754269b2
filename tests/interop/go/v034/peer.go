package main

import (
	"errors"

	"github.com/tendermint/tendermint/p2p"

	"tmp2p.test/interop/harness"
)

// peer gives the harness one of the switch's peers.
type peer struct {
	p2p.Peer
	sw *p2p.Switch
}

func (p peer) ID() string            { return string(p.Peer.ID()) }
func (p peer) SocketAddress() string { return p.SocketAddr().String() }
func (p peer) IsListed() bool        { return p.sw.Peers().Get(p.Peer.ID()) == p.Peer }

func (p peer) NodeInfo() harness.NodeInfo {
	info := p.Peer.NodeInfo().(p2p.DefaultNodeInfo)
	return harness.NodeInfo{
		Moniker:    info.Moniker,
		Network:    info.Network,
		Version:    info.Version,
		Channels:   info.Channels.String(),
		ListenAddr: info.ListenAddr,
		P2P:        info.ProtocolVersion.P2P,
		Block:      info.ProtocolVersion.Block,
		App:        info.ProtocolVersion.App,
		TxIndex:    info.Other.TxIndex,
		RPCAddress: info.Other.RPCAddress,
	}
}

func (p peer) Queues() []harness.Queue {
	queues := []harness.Queue{}
	for _, channel := range p.Status().Channels {
		queues = append(queues, harness.Queue{
			Channel:      channel.ID,
			Size:         channel.SendQueueSize,
			Capacity:     channel.SendQueueCapacity,
			RecentlySent: channel.RecentlySent,
		})
	}
	return queues
}

func (p peer) StopGracefully() { p.sw.StopPeerGracefully(p.Peer) }

func (p peer) StopForError(reason string) { p.sw.StopPeerForError(p.Peer, errors.New(reason)) }

func (p peer) FlushStop() {
	p.Peer.FlushStop()
	p.sw.StopPeerGracefully(p.Peer)
}
