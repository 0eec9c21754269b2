package harness

import (
	"encoding/json"
	"io"
	"sync"
)

// events writes one JSON object a line. Nothing that reports ever waits for the reader of stdout: a reactor blocked
// there would look to the peer like a reactor that does not read.
type events struct {
	mu      sync.Mutex
	wake    sync.Cond
	pending []byte
	closed  bool
	done    chan struct{}
}

func newEvents(output io.Writer) *events {
	e := &events{done: make(chan struct{})}
	e.wake.L = &e.mu
	go e.write(output)
	return e
}

func (e *events) emit(event any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err) // every event is a plain struct of ours
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending = append(append(e.pending, line...), '\n')
	e.wake.Signal()
}

// close returns when everything was written.
func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Signal()
	e.mu.Unlock()
	<-e.done
}

func (e *events) write(output io.Writer) {
	defer close(e.done)
	for {
		e.mu.Lock()
		for len(e.pending) == 0 && !e.closed {
			e.wake.Wait()
		}
		batch := e.pending
		e.pending = nil
		e.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if _, err := output.Write(batch); err != nil {
			return
		}
	}
}

type request = json.RawMessage

type listeningEvent struct {
	Event   string `json:"event"`
	ID      string `json:"id"`
	Addr    string `json:"addr"`
	Version string `json:"version"`
}

type peerUpEvent struct {
	Event    string   `json:"event"`
	ID       string   `json:"id"`
	Session  uint64   `json:"session"`
	Outbound bool     `json:"outbound"`
	Addr     string   `json:"addr"`
	NodeInfo NodeInfo `json:"node_info"`
}

type peerDownEvent struct {
	Event    string `json:"event"`
	ID       string `json:"id"`
	Session  uint64 `json:"session"`
	Outbound bool   `json:"outbound"`
	Added    bool   `json:"added"`
	Stopped  string `json:"stopped"`
	Reason   string `json:"reason"`
}

type rejectedEvent struct {
	Event  string   `json:"event"`
	Kind   string   `json:"kind"`
	Flags  []string `json:"flags"`
	Reason string   `json:"reason"`
	ID     string   `json:"id,omitempty"`
	Addr   string   `json:"addr,omitempty"`
}

type dialedEvent struct {
	Event   string  `json:"event"`
	Request request `json:"request,omitempty"`
	Addr    string  `json:"addr"`
}

type dialFailedEvent struct {
	Event   string   `json:"event"`
	Request request  `json:"request,omitempty"`
	Addr    string   `json:"addr"`
	Kind    string   `json:"kind"`
	Flags   []string `json:"flags"`
	Error   string   `json:"error"`
}

type messageEvent struct {
	Event   string `json:"event"`
	ID      string `json:"id"`
	Session uint64 `json:"session"`
	Channel byte   `json:"channel"`
	Seq     uint64 `json:"seq"`
	Bytes   int    `json:"bytes"`
	SHA256  string `json:"sha256"`
}

type heldEvent struct {
	Event   string `json:"event"`
	ID      string `json:"id"`
	Session uint64 `json:"session"`
	Channel byte   `json:"channel"`
}

type sentEvent struct {
	Event   string  `json:"event"`
	Request request `json:"request,omitempty"`
	ID      string  `json:"id"`
	Session uint64  `json:"session"`
	Channel byte    `json:"channel"`
	OK      bool    `json:"ok"`
	Count   uint64  `json:"count"`
	Failed  uint64  `json:"failed"`
	Bytes   uint64  `json:"bytes"`
	SHA256  string  `json:"sha256"`
	Millis  int64   `json:"millis"`
}

type floodedEvent struct {
	Event   string   `json:"event"`
	Request request  `json:"request,omitempty"`
	ID      string   `json:"id"`
	Session uint64   `json:"session"`
	Channel byte     `json:"channel"`
	Count   uint64   `json:"count"`
	Failed  uint64   `json:"failed"`
	Missing []uint64 `json:"missing"`
	Bytes   uint64   `json:"bytes"`
	Millis  int64    `json:"millis"`
}

type sunkEvent struct {
	Event   string  `json:"event"`
	Request request `json:"request,omitempty"`
	Reached *bool   `json:"reached,omitempty"`
	Totals  []total `json:"totals"`
}

type total struct {
	ID         string `json:"id"`
	Session    uint64 `json:"session"`
	Channel    byte   `json:"channel"`
	Count      uint64 `json:"count"`
	Bytes      uint64 `json:"bytes"`
	SHA256     string `json:"sha256"`
	Echoed     uint64 `json:"echoed"`
	EchoFailed uint64 `json:"echo_failed"`
}

type statusEvent struct {
	Event      string       `json:"event"`
	Request    request      `json:"request,omitempty"`
	Peers      []peerStatus `json:"peers"`
	Goroutines int          `json:"goroutines"`
}

type peerStatus struct {
	ID       string  `json:"id"`
	Session  uint64  `json:"session"`
	Outbound bool    `json:"outbound"`
	Addr     string  `json:"addr"`
	Queues   []Queue `json:"queues"`
}

type doneEvent struct {
	Event   string  `json:"event"`
	Request request `json:"request,omitempty"`
	Cmd     string  `json:"cmd"`
}

type errorEvent struct {
	Event   string  `json:"event"`
	Request request `json:"request,omitempty"`
	Cmd     string  `json:"cmd"`
	Error   string  `json:"error"`
}
