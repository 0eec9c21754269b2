// Package selftest runs the subcommands of a release once, with little to do.
package selftest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"tmp2p.test/compare/harness"
)

// Run tests the comparison program of a release.
func Run(t *testing.T, release harness.Release) {
	t.Run("connections", func(t *testing.T) { connections(t, release) })
	t.Run("drain", func(t *testing.T) { drain(t, release) })
	t.Run("broadcast", func(t *testing.T) { broadcast(t, release) })
	t.Run("rtt", func(t *testing.T) { rtt(t, release) })
	t.Run("mixed", func(t *testing.T) { mixed(t, release) })
	t.Run("book", func(t *testing.T) { book(t, release) })
}

func connections(t *testing.T, release harness.Release) {
	input, questions, err := os.Pipe()
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

	holding, said := io.Pipe()
	kept, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int, 1)
	go func() {
		ended <- harness.Run(release, []string{"hold", "-addr", addr, "-n", "5"}, kept, said, os.Stderr)
	}()
	if held := decode(t, bufio.NewReader(holding)); held["held"] != 5.0 {
		t.Errorf("%v", held)
	}
	fmt.Fprintln(questions, "figures")
	if figures := decode(t, lines); figures["peers"].(float64) < 5 || figures["rss_kib"].(float64) <= 0 {
		t.Errorf("%v", figures)
	}
	end.Close()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	questions.Close()
	// A listener may miss one that closes between start and add; not several.
	if stopped := decode(t, lines); stopped["peers_added"].(float64) < 23 {
		t.Errorf("%v", stopped)
	}
	if code := <-exit; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func drain(t *testing.T, release harness.Release) {
	result := run(t, release, "drain", "-seconds", "0.1", "-size", "1000", "-senders", "4")
	if result["bytes"].(float64) < 1000 || result["mb_per_s"].(float64) <= 0 {
		t.Errorf("%v", result)
	}
	more := []string{"drain", "-seconds", "0.1", "-size", "100000", "-packet", "65536", "-queue", "10"}
	figureOr(t, run(t, release, more...), release.Lacks.Packets, "mb_per_s")
}

func broadcast(t *testing.T, release harness.Release) {
	result := run(t, release, "broadcast", "-seconds", "0.1", "-peers", "3")
	if result["mb_per_s"].(float64) <= 0 || int(result["messages"].(float64)+result["lost"].(float64))%3 != 0 {
		t.Errorf("%v", result)
	}
}

func rtt(t *testing.T, release harness.Release) {
	figureOr(t, run(t, release, "rtt", "-seconds", "0.1"), "", "p50_us")
	figureOr(t, run(t, release, "rtt", "-seconds", "0.1", "-throttle", "0s"), release.Lacks.Throttle, "p50_us")
}

func mixed(t *testing.T, release harness.Release) {
	figureOr(t, run(t, release, "mixed", "-seconds", "0.3"), "", "bulk_mb_per_s")
	figureOr(t, run(t, release, "mixed", "-seconds", "0.3", "-rate", "default"), release.Lacks.Rates, "p99_ms")
	slow := run(t, release, "mixed", "-seconds", "0.3", "-delay", "20ms")
	if slow["delay_ms"] != 20.0 || slow["held_kib"].(float64) <= 0 {
		t.Errorf("%v", slow)
	}
}

func book(t *testing.T, release harness.Release) {
	for _, name := range []string{"add", "pick", "selection", "export", "load"} {
		result := run(t, release, "book", "-case", name, "-count", "2")
		figureOr(t, result, release.Lacks.Books, "per_second")
		if release.Lacks.Books == "" && (result["case"] != name || result["addresses"].(float64) < 15000) {
			t.Errorf("%v", result)
		}
	}
	code := harness.Run(release, []string{"book", "-case", "none"}, os.Stdin, io.Discard, io.Discard)
	if release.Lacks.Books == "" && code != 1 {
		t.Errorf("a case that is not there: exit code %d", code)
	}
}

// figureOr wants a figure above 0, or the reason why there is none.
func figureOr(t *testing.T, result map[string]any, lack, figure string) {
	t.Helper()
	if lack != "" {
		if result["cannot"] != lack {
			t.Errorf("%v does not say %q", result, lack)
		}
	} else if value, ok := result[figure].(float64); !ok || value <= 0 {
		t.Errorf("no %s in %v", figure, result)
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
