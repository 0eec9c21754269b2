package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// command is one line of stdin; README.md says which fields belong to which command.
type command struct {
	Cmd     string   `json:"cmd"`
	Request request  `json:"request"`
	ID      string   `json:"id"`
	Addr    string   `json:"addr"`
	Addrs   []string `json:"addrs"`
	Channel *byte    `json:"channel"`
	Sizes   []int    `json:"sizes"`
	Size    int      `json:"size"`
	Count   uint64   `json:"count"`
	Hex     []string `json:"hex"`
	Seed    uint64   `json:"seed"`
	Try     bool     `json:"try"`
	Millis  int64    `json:"millis"`
	On      *bool    `json:"on"`
	Mode    string   `json:"mode"`
	Reason  string   `json:"reason"`
	Flood   request  `json:"flood"`
	Session *uint64  `json:"session"`
}

// defaultAwait bounds an `await` without `millis`.
const defaultAwait = 10 * time.Second

type commands struct {
	node     Node
	sessions *Sessions
	events   *events

	mu     sync.Mutex
	floods []*flood
}

// serve runs commands until `stop`, whose request it returns, or the end of input. What may wait runs on a goroutine
// of its own.
func (c *commands) serve(input io.Reader) request {
	reader := bufio.NewReader(input)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return nil
		}
		cmd, err := decode(line)
		if err == nil {
			if cmd.Cmd == "stop" {
				return cmd.Request
			}
			err = c.dispatch(cmd)
		}
		if err != nil {
			c.events.emit(errorEvent{"error", cmd.Request, cmd.Cmd, err.Error()})
		}
	}
}

// decode refuses fields it does not know: a misspelt one would silently mean its default.
func decode(line []byte) (command, error) {
	var cmd command
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&cmd)
	return cmd, err
}

func (c *commands) dispatch(cmd command) error {
	switch cmd.Cmd {
	case "dial":
		go c.dial(cmd)
		return nil
	case "persist":
		err := c.node.Persist(cmd.Addrs)
		if err == nil {
			c.done(cmd)
		}
		return err
	case "send":
		return c.send(cmd)
	case "flood":
		return c.flood(cmd)
	case "stop_flood":
		return c.stopFlood(cmd)
	case "echo", "hold", "release":
		return c.control(cmd)
	case "totals":
		c.totals(cmd)
		return nil
	case "await":
		return c.await(cmd)
	case "stop_peer":
		return c.stopPeer(cmd)
	case "status":
		c.status(cmd)
		return nil
	}
	return errors.New("unknown command")
}

func (c *commands) done(cmd command) {
	c.events.emit(doneEvent{"done", cmd.Request, cmd.Cmd})
}

func (c *commands) dial(cmd command) {
	if err := c.node.Dial(cmd.Addr); err != nil {
		kind, flags := classify(err)
		c.events.emit(dialFailedEvent{"dial_failed", cmd.Request, cmd.Addr, kind, flags, err.Error()})
		return
	}
	c.events.emit(dialedEvent{"dialed", cmd.Request, cmd.Addr})
}

// target is the session and lane that a command names; find looks up its id.
func target(cmd command, find func(id string) (*Session, error)) (*Session, *lane, byte, error) {
	session, err := find(cmd.ID)
	if err != nil {
		return nil, nil, 0, err
	}
	if cmd.Channel == nil {
		return nil, nil, 0, errors.New("no channel given")
	}
	l, ok := session.lanes[*cmd.Channel]
	if !ok {
		return nil, nil, 0, fmt.Errorf("no such channel: %d", *cmd.Channel)
	}
	return session, l, *cmd.Channel, nil
}

func (c *commands) control(cmd command) error {
	if cmd.Channel == nil {
		return errors.New("no channel given")
	}
	control, ok := c.sessions.switches[*cmd.Channel]
	if !ok {
		return fmt.Errorf("no such channel: %d", *cmd.Channel)
	}
	control.mu.Lock()
	defer control.mu.Unlock()
	switch {
	case cmd.Cmd == "echo":
		control.echo = cmd.On == nil || *cmd.On
	case cmd.Cmd == "hold" && control.release == nil:
		control.release = make(chan struct{})
	case cmd.Cmd == "release" && control.release != nil:
		close(control.release)
		control.release = nil
	}
	c.done(cmd)
	return nil
}

func (c *commands) totals(cmd command) {
	event := sunkEvent{Event: "sunk", Request: cmd.Request, Totals: []total{}}
	for _, session := range c.sessions.all() {
		if cmd.ID == "" || cmd.ID == session.peer.ID() {
			event.Totals = append(event.Totals, session.totals()...)
		}
	}
	c.events.emit(event)
}

func (c *commands) await(cmd command) error {
	session, l, _, err := target(cmd, c.sessions.newest)
	if err != nil {
		return err
	}
	timeout := defaultAwait
	if cmd.Millis > 0 {
		timeout = time.Duration(cmd.Millis) * time.Millisecond
	}
	go func() {
		reached := session.await(l, cmd.Count, timeout)
		c.events.emit(sunkEvent{"sunk", cmd.Request, &reached, session.totals()})
	}()
	return nil
}

func (c *commands) stopPeer(cmd command) error {
	session, err := c.sessions.find(cmd.ID)
	if err != nil {
		return err
	}
	mode := cmd.Mode
	if mode == "" {
		mode = "graceful"
	}
	stop := map[string]func(){
		"graceful": session.peer.StopGracefully,
		"error":    func() { session.peer.StopForError(cmd.Reason) },
		"flush":    session.peer.FlushStop,
	}[mode]
	if stop == nil {
		return fmt.Errorf("unknown mode %q", mode)
	}
	session.stopping(mode)
	go func() {
		stop()
		c.done(cmd)
	}()
	return nil
}

func (c *commands) status(cmd command) {
	event := statusEvent{"status", cmd.Request, []peerStatus{}, runtime.NumGoroutine()}
	for _, session := range c.sessions.live() {
		p := session.peer
		event.Peers = append(event.Peers, peerStatus{
			p.ID(), session.number, p.IsOutbound(), p.SocketAddress(), p.Queues(),
		})
	}
	c.events.emit(event)
}
