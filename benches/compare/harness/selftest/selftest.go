// Package selftest runs the subcommands of a release once, with little to do.
package selftest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"

	"tmp2p.test/compare/harness"
)

// Run tests the comparison program of a release.
func Run(t *testing.T, release harness.Release) {
	t.Run("handshakes", func(t *testing.T) { handshakes(t, release) })
	t.Run("drain", func(t *testing.T) { drain(t, release) })
	t.Run("book", func(t *testing.T) { book(t, release) })
}

func handshakes(t *testing.T, release harness.Release) {
	input, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	output, out := io.Pipe()
	exit := make(chan int, 1)
	go func() { exit <- harness.Run(release, []string{"listen"}, input, out, os.Stderr) }()
	lines := bufio.NewReader(output)
	listening := decode(t, lines)
	addr := listening["addr"].(string)

	dialed := run(t, release, "dial", "-addr", addr, "-n", "20", "-concurrent", "4")
	if dialed["ok"] != 20.0 || dialed["failed"] != 0.0 || dialed["p50_ms"].(float64) <= 0 {
		t.Errorf("%v", dialed)
	}
	wrong := "00" + addr[2:]
	if dialed := run(t, release, "dial", "-addr", wrong, "-n", "1"); dialed["failed"] != 1.0 {
		t.Errorf("a wrong ID was accepted: %v", dialed)
	}
	stop.Close()
	// A listener may miss one that closes between start and add; not several.
	if stopped := decode(t, lines); stopped["peers_added"].(float64) < 18 {
		t.Errorf("%v", stopped)
	}
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func drain(t *testing.T, release harness.Release) {
	for _, more := range [][]string{
		{"-size", "1000", "-senders", "4", "-queue", "10"},
		{"-size", "100000", "-packet", "65536"},
	} {
		result := run(t, release, append([]string{"drain", "-bytes", "1000000"}, more...)...)
		if result["bytes"] != 1e6 || result["mb_per_s"].(float64) <= 0 {
			t.Errorf("%v", result)
		}
	}
}

func book(t *testing.T, release harness.Release) {
	for _, name := range []string{"add", "pick", "selection", "export", "load"} {
		result := run(t, release, "book", "-case", name, "-count", "2")
		if result["case"] != name || result["per_second"].(float64) <= 0 || result["addresses"].(float64) < 15000 {
			t.Errorf("%v", result)
		}
	}
	if code := harness.Run(release, []string{"book", "-case", "none"}, os.Stdin, io.Discard, io.Discard); code != 1 {
		t.Errorf("a case that is not there: exit code %d", code)
	}
}

func run(t *testing.T, release harness.Release, args ...string) map[string]any {
	t.Helper()
	var output bytes.Buffer
	if code := harness.Run(release, args, os.Stdin, &output, os.Stderr); code != 0 {
		t.Fatalf("%v: exit code %d", args, code)
	}
	return decode(t, bufio.NewReader(&output))
}

func decode(t *testing.T, lines *bufio.Reader) map[string]any {
	t.Helper()
	line, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}
