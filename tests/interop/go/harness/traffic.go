package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

func (c *commands) send(cmd command) error {
	session, l, channel, err := target(cmd, c.sessions.find)
	if err != nil {
		return err
	}
	payload, count, err := payloads(cmd)
	if err != nil {
		return err
	}
	send := session.peer.Send
	if cmd.Try {
		send = session.peer.TrySend
	}
	l.enqueue(func() {
		start := time.Now()
		digest := sha256.New()
		event := sentEvent{
			Event: "sent", Request: cmd.Request, ID: session.peer.ID(), Session: session.number, Channel: channel,
		}
		for i := range count {
			message := payload(i)
			switch {
			case send(channel, message):
				event.Count++
				event.Bytes += uint64(len(message))
				digest.Write(message)
				continue
			case session.peer.IsRunning():
				event.Failed++
				continue
			}
			event.Failed += count - i
			break
		}
		event.OK = event.Failed == 0
		event.SHA256 = hex.EncodeToString(digest.Sum(nil))
		event.Millis = time.Since(start).Milliseconds()
		c.events.emit(event)
	})
	return nil
}

// payloads returns the messages of a `send`, by index, and how many there are.
func payloads(cmd command) (func(uint64) []byte, uint64, error) {
	if cmd.Hex != nil {
		decoded := make([][]byte, len(cmd.Hex))
		for i, text := range cmd.Hex {
			var err error
			if decoded[i], err = hex.DecodeString(text); err != nil {
				return nil, 0, err
			}
		}
		return func(i uint64) []byte { return decoded[i] }, uint64(len(decoded)), nil
	}
	size := func(i uint64) int { return cmd.Size }
	count := max(cmd.Count, 1)
	if cmd.Sizes != nil {
		size = func(i uint64) int { return cmd.Sizes[i%uint64(len(cmd.Sizes))] }
		count = max(cmd.Count, uint64(len(cmd.Sizes)))
	}
	for _, s := range append(cmd.Sizes, cmd.Size) {
		if s < 0 {
			return nil, 0, fmt.Errorf("negative size %d", s)
		}
	}
	return func(i uint64) []byte { return Message(cmd.Seed, i, size(i)) }, count, nil
}

type flood struct {
	request request
	stop    chan struct{}
	once    sync.Once
}

// maxMissing bounds the list of sequence numbers that a flood reports as not sent.
const maxMissing = 1000

func (c *commands) flood(cmd command) error {
	session, _, channel, err := target(cmd, c.sessions.find)
	if err != nil {
		return err
	}
	if cmd.Size < 8 {
		return errors.New("size must be at least 8")
	}
	if cmd.Session != nil && *cmd.Session != session.number {
		return fmt.Errorf("session %d is over", *cmd.Session)
	}
	f := &flood{request: cmd.Request, stop: make(chan struct{})}
	c.mu.Lock()
	c.floods = append(c.floods, f)
	c.mu.Unlock()
	start := time.Now()
	if cmd.Millis > 0 {
		time.AfterFunc(time.Duration(cmd.Millis)*time.Millisecond, f.end)
	}
	go func() {
		event := floodedEvent{
			Event: "flooded", Request: cmd.Request, ID: session.peer.ID(), Session: session.number, Channel: channel,
			Missing: []uint64{},
		}
		for seq := uint64(0); session.peer.IsRunning() && !f.ended() && (cmd.Count == 0 || seq < cmd.Count); seq++ {
			if session.peer.Send(channel, Numbered(cmd.Seed, seq, cmd.Size)) {
				event.Count++
				event.Bytes += uint64(cmd.Size)
				continue
			}
			event.Failed++
			if len(event.Missing) < maxMissing {
				event.Missing = append(event.Missing, seq)
			}
		}
		c.forget(f)
		event.Millis = time.Since(start).Milliseconds()
		c.events.emit(event)
	}()
	return nil
}

func (f *flood) end() { f.once.Do(func() { close(f.stop) }) }

func (f *flood) ended() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

func (c *commands) forget(f *flood) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.floods {
		if other == f {
			c.floods = append(c.floods[:i], c.floods[i+1:]...)
			return
		}
	}
}

func (c *commands) stopFlood(cmd command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.floods {
		if cmd.Flood == nil || bytes.Equal(cmd.Flood, f.request) {
			f.end()
		}
	}
	c.done(cmd)
	return nil
}
