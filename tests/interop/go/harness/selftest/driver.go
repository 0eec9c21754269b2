// Package selftest drives peer programs of one release against each other, over the same JSON lines as everybody else.
package selftest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"tmp2p.test/interop/harness"
)

// deadline is for one event; everything here takes milliseconds.
const deadline = 10 * time.Second

type fields map[string]any

// driver is one running peer program.
type driver struct {
	t       *testing.T
	input   io.WriteCloser
	lines   chan fields
	seen    []fields // not yet asked for
	exit    chan int
	request int

	id, addr string
}

// start runs a peer program until the test ends.
func start(t *testing.T, release harness.Release, args ...string) *driver {
	t.Helper()
	in, input := io.Pipe()
	output, out := io.Pipe()
	d := &driver{t: t, input: input, lines: make(chan fields, 1024), exit: make(chan int, 1)}
	args = append([]string{"-flush-throttle", "0s", "-send-rate", "0", "-recv-rate", "0"}, args...)
	logs := io.Discard
	if testing.Verbose() {
		logs = os.Stderr
	}
	go func() {
		d.exit <- harness.Run(release, args, in, out, logs)
		out.Close()
	}()
	go d.read(output)
	t.Cleanup(func() {
		input.Close()
		d.exited()
	})
	listening := d.wait("listening", nil)
	d.id, d.addr = listening["id"].(string), listening["addr"].(string)
	return d
}

func (d *driver) read(output io.Reader) {
	defer close(d.lines)
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		decoder := json.NewDecoder(strings.NewReader(scanner.Text()))
		decoder.UseNumber()
		var line fields
		if err := decoder.Decode(&line); err != nil {
			line = fields{"event": "not JSON", "line": scanner.Text()}
		}
		d.lines <- line
	}
}

func (d *driver) exited() {
	select {
	case code := <-d.exit:
		d.exit <- code
		if code != 0 {
			d.t.Errorf("exit code %d", code)
		}
	case <-time.After(deadline):
		d.t.Error("did not exit")
	}
}

func (d *driver) address() string { return d.id + "@" + d.addr }

// send gives a command a request number and returns it.
func (d *driver) send(cmd string, more fields) int {
	d.t.Helper()
	d.request++
	line := fields{"cmd": cmd, "request": d.request}
	for key, value := range more {
		line[key] = value
	}
	encoded, err := json.Marshal(line)
	if err == nil {
		_, err = d.input.Write(append(encoded, '\n'))
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.request
}

// ask sends a command and waits for its answer.
func (d *driver) ask(cmd string, more fields, answer string) fields {
	d.t.Helper()
	return d.wait(answer, fields{"request": d.send(cmd, more)})
}

// wait returns the first event not yet asked for that has all these fields.
func (d *driver) wait(event string, want fields) fields {
	d.t.Helper()
	matches := func(line fields) bool {
		for key, value := range want {
			if fmt.Sprint(line[key]) != fmt.Sprint(value) {
				return false
			}
		}
		return line["event"] == event
	}
	for i, line := range d.seen {
		if matches(line) {
			d.seen = append(d.seen[:i], d.seen[i+1:]...)
			return line
		}
	}
	timeout := time.After(deadline)
	for {
		select {
		case line, ok := <-d.lines:
			if !ok {
				d.t.Fatalf("ended while waiting for %s %v; seen: %v", event, want, d.seen)
			}
			if matches(line) {
				return line
			}
			d.seen = append(d.seen, line)
		case <-timeout:
			d.t.Fatalf("no %s %v; seen: %v", event, want, d.seen)
		}
	}
}

// check compares fields of an event.
func (d *driver) check(line fields, want fields) {
	d.t.Helper()
	for key, value := range want {
		if fmt.Sprint(line[key]) != fmt.Sprint(value) {
			d.t.Errorf("%s is %v, not %v, in %v", key, line[key], value, line)
		}
	}
}

// connect dials the other and waits until both added the peer.
func (d *driver) connect(other *driver) {
	d.t.Helper()
	d.ask("dial", fields{"addr": other.address()}, "dialed")
	d.wait("peer_up", fields{"id": other.id, "outbound": true})
	other.wait("peer_up", fields{"id": d.id, "outbound": false})
}
