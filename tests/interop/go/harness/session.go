package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

// Sessions knows every session there was, live or ended, and what all of them share.
type Sessions struct {
	events   *events
	report   bool
	channels []Channel
	switches map[byte]*channelSwitch

	mu   sync.Mutex
	list []*Session // in order of appearance; a session's number is its index
}

// channelSwitch is what commands turn on and off for a channel of all peers.
type channelSwitch struct {
	mu      sync.Mutex
	echo    bool
	release chan struct{} // non-nil while held; closed to release
}

func newSessions(o Options, e *events) *Sessions {
	s := &Sessions{events: e, report: o.ReportMessages, channels: o.Channels, switches: map[byte]*channelSwitch{}}
	for _, channel := range o.Channels {
		s.switches[channel.ID] = &channelSwitch{}
	}
	return s
}

// Init takes a peer that the switch is about to start: a reactor's InitPeer.
func (s *Sessions) Init(peer Peer) *Session {
	session := &Session{owner: s, peer: peer, lanes: map[byte]*lane{}}
	session.ended = make(chan struct{})
	session.reported = make(chan struct{})
	for _, channel := range s.channels {
		session.lanes[channel.ID] = &lane{digest: sha256.New()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	session.number = uint64(len(s.list))
	s.list = append(s.list, session)
	return session
}

func (s *Sessions) all() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Session(nil), s.list...)
}

// live returns the sessions that were added and not removed.
func (s *Sessions) live() []*Session {
	var live []*Session
	for _, session := range s.all() {
		session.mu.Lock()
		if session.state == stateUp {
			live = append(live, session)
		}
		session.mu.Unlock()
	}
	return live
}

// settle waits until every session that ended was reported.
func (s *Sessions) settle() {
	for _, session := range s.all() {
		session.settle()
	}
}

// find returns the live session of that peer; an empty id means the only live one.
func (s *Sessions) find(id string) (*Session, error) {
	live := s.live()
	if id == "" {
		if len(live) != 1 {
			return nil, fmt.Errorf("no id given, and %d peers", len(live))
		}
		return live[0], nil
	}
	for _, session := range live {
		if session.peer.ID() == id {
			return session, nil
		}
	}
	return nil, fmt.Errorf("no such peer: %s", id)
}

// newest returns the last session of that peer, live or ended; an empty id means of any.
func (s *Sessions) newest(id string) (*Session, error) {
	all := s.all()
	for i := len(all) - 1; i >= 0; i-- {
		if id == "" || all[i].peer.ID() == id {
			return all[i], nil
		}
	}
	return nil, fmt.Errorf("no such peer: %s", id)
}

type sessionState int

const (
	stateInit sessionState = iota
	stateUp
	stateDown
)

// Session is one peer from InitPeer to RemovePeer.
type Session struct {
	owner  *Sessions
	peer   Peer
	number uint64
	lanes  map[byte]*lane
	ended  chan struct{}
	// reported is closed after ended, when the event is out.
	reported chan struct{}

	mu      sync.Mutex
	state   sessionState
	stopped string // the mode of a `stop_peer`
}

// Up is a reactor's AddPeer.
func (s *Session) Up() {
	for _, earlier := range s.owner.all()[:s.number] {
		if earlier.peer.ID() == s.peer.ID() {
			earlier.settle()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateInit {
		return // it failed before the switch had finished adding it
	}
	s.state = stateUp
	s.owner.events.emit(peerUpEvent{
		"peer_up", s.peer.ID(), s.number, s.peer.IsOutbound(), s.peer.SocketAddress(), s.peer.NodeInfo(),
	})
}

// Down is a reactor's RemovePeer. A switch that stops a peer closes its socket first, so its reading goroutine may
// come before it with an error of its own: then this is called twice, and which reason is first is chance.
func (s *Session) Down(reason any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateDown {
		return
	}
	text := ""
	if reason != nil {
		text = fmt.Sprint(reason)
	}
	event := peerDownEvent{
		"peer_down", s.peer.ID(), s.number, s.peer.IsOutbound(), s.state == stateUp, s.stopped, text,
	}
	s.state = stateDown
	close(s.ended)
	go s.report(event)
}

// removalPoll is how often to look whether a peer left the switch's set, of which nothing tells.
const removalPoll = time.Millisecond

// report holds the event back until the switch would admit the same ID again: it takes the peer off its set last, and
// a test that connects again at once would be refused as a duplicate.
func (s *Session) report(event peerDownEvent) {
	for s.peer.IsListed() {
		time.Sleep(removalPoll)
	}
	s.owner.events.emit(event)
	close(s.reported)
}

// settle returns at once unless the session ended and its event is yet to come.
func (s *Session) settle() {
	select {
	case <-s.ended:
		<-s.reported
	default:
	}
}

// stopping notes that the end to come was asked for.
func (s *Session) stopping(mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = mode
}

// Receive is a reactor's Receive: it runs on the connection's reading goroutine, and payload is only lent.
func (s *Session) Receive(channel byte, payload []byte) {
	control := s.owner.switches[channel]
	s.waitReleased(control, channel)
	l := s.lanes[channel]
	l.mu.Lock()
	seq := l.count
	l.count++
	l.bytes += uint64(len(payload))
	l.digest.Write(payload)
	waiting := l.waiters[:0]
	for _, w := range l.waiters {
		if l.count >= w.count {
			close(w.reached)
		} else {
			waiting = append(waiting, w)
		}
	}
	l.waiters = waiting
	l.mu.Unlock()
	if s.owner.report {
		sum := sha256.Sum256(payload)
		s.owner.events.emit(messageEvent{
			"message", s.peer.ID(), s.number, channel, seq, len(payload), hex.EncodeToString(sum[:]),
		})
	}
	control.mu.Lock()
	echo := control.echo
	control.mu.Unlock()
	if echo {
		s.echo(channel, l, append([]byte{}, payload...))
	}
}

// waitReleased makes the reactor one that does not return from Receive while its channel is held.
func (s *Session) waitReleased(control *channelSwitch, channel byte) {
	control.mu.Lock()
	release := control.release
	control.mu.Unlock()
	if release != nil {
		s.owner.events.emit(heldEvent{"held", s.peer.ID(), s.number, channel})
		<-release
	}
}

func (s *Session) totals() []total {
	totals := []total{}
	for _, channel := range s.owner.channels {
		l := s.lanes[channel.ID]
		l.mu.Lock()
		totals = append(totals, total{
			s.peer.ID(), s.number, channel.ID,
			l.count, l.bytes, hex.EncodeToString(l.digest.Sum(nil)), l.echoed, l.echoFailed,
		})
		l.mu.Unlock()
	}
	return totals
}
