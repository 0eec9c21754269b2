package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"

	"tmp2p.test/compare/harness"
)

// maxPacket is far above a ping or pong; nothing else comes on a fresh connection.
const maxPacket = 2048

// connect does what the transport's dial does, whose own entry only the switch can call, and waits for the answer to
// one ping.
func connect(o harness.ConnectOptions) (harness.Conn, error) {
	stream, err := net.DialTimeout("tcp", o.Address, o.Timeout)
	if err != nil {
		return nil, err
	}
	if err := stream.SetDeadline(time.Now().Add(o.Timeout)); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	secret, err := handshake(stream, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("handshake: %w", err), stream.Close())
	}
	return &connection{secret: secret, options: o}, nil
}

func handshake(stream net.Conn, o harness.ConnectOptions) (*conn.SecretConnection, error) {
	key := ed25519.PrivKey(o.Key)
	secret, err := conn.MakeSecretConnection(stream, key)
	if err != nil {
		return nil, err
	}
	if id := p2p.PubKeyToID(secret.RemotePubKey()); string(id) != o.ID {
		return nil, fmt.Errorf("connected to %s, not %s", id, o.ID)
	}
	ours := nodeInfo(p2p.PubKeyToID(key.PubKey()), "127.0.0.1:0", o.Network, []byte{o.Channel})
	if err := exchangeNodeInfo(secret, ours); err != nil {
		return nil, err
	}
	return secret, ping(secret)
}

// connection is the release's own once it has carried a message.
type connection struct {
	secret  *conn.SecretConnection
	running *conn.MConnection
	options harness.ConnectOptions
}

func (c *connection) Echo(payload []byte) error {
	if err := c.secret.SetDeadline(time.Time{}); err != nil {
		return err
	}
	answered, failed := make(chan int, 1), make(chan any, 1)
	channels := []*conn.ChannelDescriptor{{ID: c.options.Channel, Priority: 1}}
	received := func(_ byte, answer []byte) { answered <- len(answer) }
	cfg := p2p.MConnConfig(config.DefaultP2PConfig())
	c.running = conn.NewMConnectionWithConfig(c.secret, channels, received, func(reason any) {
		select {
		case failed <- reason:
		default:
		}
	}, cfg)
	// Its channels have none by themselves.
	c.running.SetLogger(log.NewNopLogger())
	if err := c.running.Start(); err != nil {
		return err
	}
	if !c.running.Send(c.options.Channel, payload) {
		return errors.New("a Send failed")
	}
	select {
	case length := <-answered:
		if length != len(payload) {
			return fmt.Errorf("%d bytes came back, not %d", length, len(payload))
		}
		return nil
	case reason := <-failed:
		return fmt.Errorf("the connection ended: %v", reason)
	case <-time.After(c.options.Timeout):
		return errors.New("no answer came")
	}
}

// Close ignores errors: the listener may have closed first.
func (c *connection) Close() {
	if c.running != nil {
		_ = c.running.Stop()
	}
	_ = c.secret.Close()
}

func exchangeNodeInfo(secret *conn.SecretConnection, ours p2p.DefaultNodeInfo) error {
	wrote := make(chan error, 1)
	go func() {
		_, err := protoio.NewDelimitedWriter(secret).WriteMsg(ours.ToProto())
		wrote <- err
	}()
	var encoded tmp2p.DefaultNodeInfo
	if _, err := protoio.NewDelimitedReader(secret, p2p.MaxNodeInfoSize()).ReadMsg(&encoded); err != nil {
		return err
	}
	if err := <-wrote; err != nil {
		return err
	}
	theirs, err := p2p.DefaultNodeInfoFromToProto(&encoded)
	if err != nil {
		return err
	}
	if err := theirs.Validate(); err != nil {
		return err
	}
	return ours.CompatibleWith(theirs)
}

// ping returns when the answer is there: the listener's connection runs.
func ping(secret *conn.SecretConnection) error {
	packet := tmp2p.Packet{Sum: &tmp2p.Packet_PacketPing{PacketPing: &tmp2p.PacketPing{}}}
	if _, err := protoio.NewDelimitedWriter(secret).WriteMsg(&packet); err != nil {
		return err
	}
	reader := protoio.NewDelimitedReader(secret, maxPacket)
	for {
		var answer tmp2p.Packet
		if _, err := reader.ReadMsg(&answer); err != nil {
			return err
		}
		if answer.GetPacketPong() != nil {
			return nil
		}
	}
}
