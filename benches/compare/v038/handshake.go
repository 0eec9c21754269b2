package main

import (
	"fmt"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"

	"tmp2p.test/compare/harness"
)

// maxPacket is far above a ping or pong; nothing else comes on a fresh connection.
const maxPacket = 2048

// handshake does what the transport's dial does, whose own entry only the switch can call.
func handshake(h harness.Handshake) error {
	key := ed25519.PrivKey(h.Key)
	secret, err := conn.MakeSecretConnection(h.Conn, key)
	if err != nil {
		return err
	}
	if id := p2p.PubKeyToID(secret.RemotePubKey()); string(id) != h.ID {
		return fmt.Errorf("connected to %s, not %s", id, h.ID)
	}
	if err := exchangeNodeInfo(secret, nodeInfo(p2p.PubKeyToID(key.PubKey()), "127.0.0.1:0", h.Network, h.Channel)); err != nil {
		return err
	}
	return ping(secret)
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
