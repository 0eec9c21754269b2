// Package raw has the message that both programs send.
package raw

import "github.com/cosmos/gogoproto/proto"

// Message is a protobuf message that is its own encoding, so that channels carry any bytes.
type Message struct {
	Payload []byte
}

func (r *Message) Reset()                   { r.Payload = nil }
func (r *Message) String() string           { return "raw" }
func (*Message) ProtoMessage()              {}
func (r *Message) Marshal() ([]byte, error) { return r.Payload, nil }

// Unmarshal keeps the connection's own buffer: it is valid until the reactor returns.
func (r *Message) Unmarshal(payload []byte) error {
	r.Payload = payload
	return nil
}

// Merge is called by the clone that is made of the descriptor's message type before each Unmarshal; without it the
// clone walks the fields by reflection.
func (*Message) Merge(proto.Message) {}
