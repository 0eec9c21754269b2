package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/lp2p"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"

	"tmp2p.test/compare/harness"
)

// connect makes a host that does not listen, dials, and lets one byte be sent back: the listening switch knows of a
// peer from its first message on.
func connect(o harness.ConnectOptions) (harness.Conn, error) {
	key, err := lp2p.PrivateKeyFromCosmosKey(ed25519.PrivKey(o.Key))
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(
		libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.Transport(quic.NewTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	)
	if err != nil {
		return nil, err
	}
	info, err := addrInfo(o.ID + "@" + o.Address)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	c := &connection{host: h, listener: info.ID, options: o, answers: make(chan int, 1)}
	h.SetStreamHandler(lp2p.ProtocolID(o.Channel), func(stream network.Stream) {
		answer, err := lp2p.StreamReadClose(stream)
		if err == nil {
			c.answers <- len(answer)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	if err := h.Connect(ctx, info); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := c.Echo([]byte{0}); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return c, nil
}

type connection struct {
	host     host.Host
	listener peer.ID
	options  harness.ConnectOptions
	answers  chan int
}

func (c *connection) Echo(payload []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
	defer cancel()
	stream, err := c.host.NewStream(ctx, c.listener, lp2p.ProtocolID(c.options.Channel))
	if err != nil {
		return err
	}
	if err := lp2p.StreamWriteClose(stream, payload); err != nil {
		return err
	}
	select {
	case length := <-c.answers:
		if length != len(payload) {
			return fmt.Errorf("%d bytes came back, not %d", length, len(payload))
		}
		return nil
	case <-ctx.Done():
		return errors.New("no answer came")
	}
}

// Close ignores errors: the listener may have closed first.
func (c *connection) Close() { _ = c.host.Close() }
