package harness

import "encoding/binary"

const golden = 0x9E3779B97F4A7C15

// Message returns the payload of message `index` of a command with this seed: `size` bytes of an xorshift64* stream,
// its words in little-endian order, the last one cut. README.md has the definition and test values.
func Message(seed, index uint64, size int) []byte {
	state := seed + (index+1)*golden
	if state == 0 {
		state = golden
	}
	payload := make([]byte, size)
	rest := payload
	for ; len(rest) >= 8; rest = rest[8:] {
		binary.LittleEndian.PutUint64(rest, next(&state))
	}
	var last [8]byte
	binary.LittleEndian.PutUint64(last[:], next(&state))
	copy(rest, last[:])
	return payload
}

// Numbered is Message with its first eight bytes replaced by the index, big-endian.
func Numbered(seed, index uint64, size int) []byte {
	payload := Message(seed, index, size)
	binary.BigEndian.PutUint64(payload, index)
	return payload
}

func next(state *uint64) uint64 {
	*state ^= *state >> 12
	*state ^= *state << 25
	*state ^= *state >> 27
	return *state * 0x2545F4914F6CDD1D
}
