package main

import (
	"github.com/cometbft/cometbft/p2p"

	"tmp2p.test/interop/harness"
)

// reactor owns all channels and hands everything to the harness.
type reactor struct {
	p2p.BaseReactor
	channels []harness.Channel
	sessions *harness.Sessions
}

func newReactor(channels []harness.Channel, sessions *harness.Sessions) *reactor {
	r := &reactor{channels: channels, sessions: sessions}
	r.BaseReactor = *p2p.NewBaseReactor("interop", r)
	return r
}

func (r *reactor) GetChannels() []*p2p.ChannelDescriptor {
	var descriptors []*p2p.ChannelDescriptor
	for _, channel := range r.channels {
		descriptors = append(descriptors, &p2p.ChannelDescriptor{
			ID:                  channel.ID,
			Priority:            channel.Priority,
			SendQueueCapacity:   channel.SendQueueCapacity,
			RecvMessageCapacity: channel.RecvMessageCapacity,
			MessageType:         &raw{},
		})
	}
	return descriptors
}

const sessionKey = "session"

func (r *reactor) InitPeer(p p2p.Peer) p2p.Peer {
	p.Set(sessionKey, r.sessions.Init(peer{p, r.Switch}))
	return p
}

func (r *reactor) AddPeer(p p2p.Peer) { session(p).Up() }

func (r *reactor) RemovePeer(p p2p.Peer, reason any) { session(p).Down(reason) }

func (r *reactor) Receive(e p2p.Envelope) {
	session(e.Src).Receive(e.ChannelID, e.Message.(*raw).payload)
}

func session(p p2p.Peer) *harness.Session { return p.Get(sessionKey).(*harness.Session) }
