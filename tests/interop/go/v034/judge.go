package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/tendermint/tendermint/p2p"
	tmp2p "github.com/tendermint/tendermint/proto/tendermint/p2p"
)

// judge tells in a line what the release makes of bytes from the wire, or of the text of an address.
func judge(kind string, data []byte) string {
	switch kind {
	case "node_info":
		return judgeNodeInfo(data)
	case "packet":
		return judgePacket(data)
	case "pex":
		return judgePex(data)
	case "address":
		return judgeAddress(string(data))
	default:
		return "unknown kind"
	}
}

func judgeNodeInfo(data []byte) string {
	pb := new(tmp2p.DefaultNodeInfo)
	if err := pb.Unmarshal(data); err != nil {
		return "no"
	}
	info, err := p2p.DefaultNodeInfoFromToProto(pb)
	if err != nil {
		return "no"
	}
	again, err := info.ToProto().Marshal()
	if err != nil {
		return "no"
	}
	verdict := "valid"
	if err := info.Validate(); err != nil {
		verdict = "invalid"
	}
	return verdict + " " + hex.EncodeToString(again)
}

func judgePacket(data []byte) string {
	pb := new(tmp2p.Packet)
	if err := pb.Unmarshal(data); err != nil {
		return "no"
	}
	switch packet := pb.Sum.(type) {
	case *tmp2p.Packet_PacketPing:
		return "ping"
	case *tmp2p.Packet_PacketPong:
		return "pong"
	case *tmp2p.Packet_PacketMsg:
		msg := packet.PacketMsg
		return fmt.Sprintf("msg %d %t %x", msg.ChannelID, msg.EOF, msg.Data)
	default:
		return "no"
	}
}

func judgePex(data []byte) string {
	pb := new(tmp2p.Message)
	if err := pb.Unmarshal(data); err != nil {
		return "no"
	}
	message, err := pb.Unwrap()
	if err != nil {
		return "no"
	}
	addrs, ok := message.(*tmp2p.PexAddrs)
	if !ok {
		return "request"
	}
	list, err := p2p.NetAddressesFromProto(addrs.Addrs)
	if err != nil {
		return "no"
	}
	texts := make([]string, len(list))
	for i, addr := range list {
		texts[i] = fmt.Sprintf("%x@%x:%d", string(addr.ID), []byte(addr.IP.To16()), addr.Port)
	}
	return "addrs " + strings.Join(texts, ",")
}

func judgeAddress(text string) string {
	addr, err := p2p.NewNetAddressString(text)
	var noID p2p.ErrNetAddressNoID
	var lookup p2p.ErrNetAddressLookup
	switch {
	case errors.As(err, &noID):
		return "no_id"
	case errors.As(err, &lookup):
		return "lookup"
	case err != nil:
		return "invalid"
	default:
		return "ok " + addr.String()
	}
}
