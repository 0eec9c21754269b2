package main

import "github.com/cosmos/gogoproto/proto"

// raw is a protobuf message that is its own encoding, so that channels carry any bytes.
type raw struct {
	payload []byte
}

func (r *raw) Reset()                   { r.payload = nil }
func (r *raw) String() string           { return "raw" }
func (*raw) ProtoMessage()              {}
func (r *raw) Marshal() ([]byte, error) { return r.payload, nil }

// Unmarshal keeps the connection's own buffer: it is valid until the reactor returns.
func (r *raw) Unmarshal(payload []byte) error {
	r.payload = payload
	return nil
}

// Merge is called by the clone that is made of the descriptor's message type before each Unmarshal; without it the
// clone walks the fields by reflection.
func (*raw) Merge(proto.Message) {}
