package harness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Level orders log lines; a Log writes those at or above its own.
type Level int

const (
	Debug Level = iota
	Info
	Error
	None
)

func parseLevel(text string) (Level, error) {
	for level, name := range levelNames {
		if name == text {
			return Level(level), nil
		}
	}
	return None, fmt.Errorf("-log-level: unknown level %q", text)
}

var levelNames = []string{"debug", "info", "error", "none"}

// Log takes the switch's log lines: some go to a writer, and those that are the only trace of a refused inbound
// connection become events.
type Log struct {
	mu     sync.Mutex
	level  Level
	output io.Writer
	events *events
}

// refusals are the lines that acceptRoutine logs about a connection it does not keep.
var refusals = map[string]string{
	"Inbound Peer rejected": "",
	"Peer filter timed out": "filter_timeout",
	"Ignoring inbound connection: already have enough inbound peers": "too_many_inbound",
	"Ignoring inbound connection: error while adding peer":           "",
}

// Line takes one line of a release's logger; context comes from its With.
func (l *Log) Line(level Level, message string, context, keyvals []any) {
	if flag, ok := refusals[message]; ok {
		l.refused(message, flag, keyvals)
	}
	if level < l.level {
		return
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%s %s %s", time.Now().Format("15:04:05.000"), levelNames[level], message)
	for _, pairs := range [][]any{context, keyvals} {
		for i := 0; i+1 < len(pairs); i += 2 {
			fmt.Fprintf(&line, " %v=%v", pairs[i], pairs[i+1])
		}
	}
	line.WriteByte('\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	io.WriteString(l.output, line.String())
}

func (l *Log) refused(message, flag string, keyvals []any) {
	event := rejectedEvent{Event: "rejected", Reason: message, Flags: []string{}}
	for i := 0; i+1 < len(keyvals); i += 2 {
		switch value := keyvals[i+1]; keyvals[i] {
		case "err":
			if err, ok := value.(error); ok {
				event.Reason = err.Error()
				event.Kind, event.Flags = classify(err)
			}
		case "id":
			event.ID = fmt.Sprint(value)
		case "address":
			event.Addr = fmt.Sprint(value)
		}
	}
	if flag != "" {
		event.Kind = flag
	}
	l.events.emit(event)
}

// rejection is p2p.ErrRejected of any release.
type rejection interface {
	error
	IsAuthFailure() bool
	IsDuplicate() bool
	IsFiltered() bool
	IsIncompatible() bool
	IsNodeInfoInvalid() bool
	IsSelf() bool
}

// classify names what kind of error a dial or accept ended with, and the flags of an ErrRejected.
func classify(err error) (kind string, flags []string) {
	flags = []string{}
	var r rejection
	if errors.As(err, &r) {
		for _, f := range []struct {
			set  bool
			name string
		}{
			{r.IsAuthFailure(), "auth_failure"},
			{r.IsDuplicate(), "duplicate"},
			{r.IsFiltered(), "filtered"},
			{r.IsIncompatible(), "incompatible"},
			{r.IsNodeInfoInvalid(), "node_info_invalid"},
			{r.IsSelf(), "self"},
		} {
			if f.set {
				flags = append(flags, f.name)
			}
		}
		return "rejected", flags
	}
	name := fmt.Sprintf("%T", err)
	switch {
	case strings.HasSuffix(name, "ErrCurrentlyDialingOrExistingAddress"):
		return "already", flags
	case strings.HasSuffix(name, "ErrFilterTimeout"):
		return "filter_timeout", flags
	case strings.HasSuffix(name, "ErrSwitchDuplicatePeerID"):
		return "duplicate_id", flags
	case strings.HasSuffix(name, "ErrPeerRemoval"):
		return "ended_while_added", flags
	case strings.Contains(name, "ErrNetAddress"):
		return "address", flags
	}
	var network net.Error
	if errors.As(err, &network) {
		return "network", flags
	}
	return "other", flags
}
