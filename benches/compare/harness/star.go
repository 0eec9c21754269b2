package harness

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// The channels of what is measured.
const (
	bulkChannel      = 0x30
	importantChannel = 0x31
)

// unlimited is more than any connection carries, and no overflow in any release.
const unlimited = 1 << 40

// warmUp is how long connecting may take.
const warmUp = 20 * time.Second

// defaults are what a measurement starts from.
func defaults() SwitchOptions {
	return SwitchOptions{
		Address: "127.0.0.1:0", Network: "compare", Channels: []Channel{{bulkChannel, 1}}, MaxInbound: 40,
		Queue: 1, Packet: 1024, Rate: unlimited, Throttle: -1,
	}
}

// star is one switch of this process connected with some others.
type star struct {
	peers    []Peer // as the one in the middle sees the others
	switches []Switch
}

// newStar is connected when each channel of each peer has carried a message: one of one byte, which is not told of.
func newStar(
	release Release, options SwitchOptions, receivers int,
	received func(from Peer, channel byte, payload []byte), answered func(payload []byte),
) (*star, error) {
	s := &star{}
	added := make(chan Peer, receivers)
	warm := make(chan struct{}, receivers*len(options.Channels))
	source, _, err := start(release, options, Sink{
		Added:    func(peer Peer) { added <- peer },
		Received: func(_ Peer, _ byte, payload []byte) { answered(payload) },
	})
	if err != nil {
		return nil, err
	}
	s.switches = append(s.switches, source)
	late := time.After(warmUp)
	for range receivers {
		to, addr, err := start(release, options, Sink{
			Added: func(Peer) {},
			Received: func(from Peer, channel byte, payload []byte) {
				if len(payload) == 1 {
					warm <- struct{}{}
					return
				}
				received(from, channel, payload)
			},
		})
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		s.switches = append(s.switches, to)
		if err := source.Dial(addr); err != nil {
			return nil, errors.Join(err, s.stop())
		}
		select {
		case peer := <-added:
			s.peers = append(s.peers, peer)
		case <-late:
			return nil, errors.Join(errors.New("a peer was not added"), s.stop())
		}
	}
	for _, peer := range s.peers {
		for _, channel := range options.Channels {
			if !peer.Send(channel.ID, []byte{0}) {
				return nil, errors.Join(errors.New("the first message was not taken"), s.stop())
			}
		}
	}
	for range receivers * len(options.Channels) {
		select {
		case <-warm:
		case <-late:
			return nil, errors.Join(errors.New("a first message did not arrive"), s.stop())
		}
	}
	return s, nil
}

func (s *star) stop() error {
	for _, sw := range s.switches {
		sw.Stop()
	}
	return nil
}

// start makes a switch; port 0 is replaced by a free port before, since a switch announces the address it is given.
// Another process may take the port in between, hence the retries.
func start(release Release, options SwitchOptions, sink Sink) (Switch, string, error) {
	host, port, err := net.SplitHostPort(options.Address)
	if err != nil {
		return nil, "", err
	}
	for attempt := 0; ; attempt++ {
		if port == "0" {
			probe, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				return nil, "", err
			}
			options.Address = probe.Addr().String()
			probe.Close()
		}
		sw, err := release.NewSwitch(options, sink)
		if err == nil {
			return sw, sw.ID() + "@" + options.Address, nil
		}
		if port != "0" || attempt == 20 {
			return nil, "", fmt.Errorf("a switch did not start: %w", err)
		}
	}
}
