package selftest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"tmp2p.test/interop/harness"
)

const twoChannels = "0x70:1:1,0x71:5:100"

// Run tests the peer program of a release.
func Run(t *testing.T, release harness.Release) {
	for name, test := range map[string]func(*testing.T, harness.Release){
		"messages":  messages,
		"try":       try,
		"echo":      echo,
		"flood":     flood,
		"hold":      hold,
		"stopPeer":  stopPeer,
		"stop":      stop,
		"refusals":  refusals,
		"persist":   persist,
		"timeout":   timeout,
		"badInput":  badInput,
		"knownSeed": knownSeed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, release)
		})
	}
}

// pair is two connected peers; the first one dialled.
func pair(t *testing.T, release harness.Release, more ...string) (a, b *driver) {
	t.Helper()
	args := append([]string{"-channels", twoChannels}, more...)
	a = start(t, release, append(args, "-moniker", "a")...)
	b = start(t, release, append(args, "-moniker", "b")...)
	a.connect(b)
	return a, b
}

func messages(t *testing.T, release harness.Release) {
	args := []string{"-channels", twoChannels}
	a := start(t, release, append(args, "-moniker", "the a")...)
	b := start(t, release, args...)
	a.send("dial", fields{"addr": b.address()})
	up := b.wait("peer_up", nil)
	b.check(up, fields{"id": a.id, "outbound": false, "session": 0})
	b.check(up["node_info"].(map[string]any), fields{
		"moniker": "the a", "network": "interop", "version": release.Version, "channels": "7071",
		"listen_addr": "tcp://" + a.addr, "p2p": 8, "block": 11,
	})
	a.wait("peer_up", fields{"id": b.id, "outbound": true, "addr": b.address()})

	sizes := []int{0, 1, 1023, 1024, 1025, 2048, 70000}
	sent := a.ask("send", fields{"channel": 0x71, "sizes": sizes, "seed": 5}, "sent")
	a.check(sent, fields{"ok": true, "count": len(sizes), "failed": 0, "bytes": 75121, "id": b.id})
	all := sha256.New()
	for i, size := range sizes {
		payload := harness.Message(5, uint64(i), size)
		all.Write(payload)
		sum := sha256.Sum256(payload)
		b.wait("message", fields{
			"id": a.id, "channel": 0x71, "seq": i, "bytes": size, "sha256": hex.EncodeToString(sum[:]),
		})
	}
	digest := hex.EncodeToString(all.Sum(nil))
	a.check(sent, fields{"sha256": digest})

	a.ask("send", fields{"channel": 0x70, "hex": []string{"00ff", ""}}, "sent")
	sunk := b.ask("await", fields{"channel": 0x70, "count": 2}, "sunk")
	b.check(sunk, fields{"reached": true})
	totals := b.ask("totals", fields{"id": a.id}, "sunk")["totals"].([]any)
	two := sha256.Sum256([]byte{0x00, 0xff})
	b.check(totals[0].(map[string]any), fields{
		"id": a.id, "channel": 0x70, "count": 2, "bytes": 2, "sha256": hex.EncodeToString(two[:]),
	})
	b.check(totals[1].(map[string]any), fields{"channel": 0x71, "count": 7, "bytes": 75121, "sha256": digest})
}

func try(t *testing.T, release harness.Release) {
	a, b := pair(t, release, "-messages=false")
	sent := a.ask("send", fields{"channel": 0x70, "size": 100000, "count": 50, "try": true}, "sent")
	count, failed := number(t, sent, "count"), number(t, sent, "failed")
	if count+failed != 50 || count == 0 || failed == 0 {
		t.Errorf("%d sent, %d failed", count, failed)
	}
	sunk := b.ask("await", fields{"channel": 0x70, "count": count}, "sunk")
	b.check(sunk["totals"].([]any)[0].(map[string]any), fields{
		"count": count, "bytes": sent["bytes"], "sha256": sent["sha256"],
	})
}

func echo(t *testing.T, release harness.Release) {
	a, b := pair(t, release)
	b.ask("echo", fields{"channel": 0x71}, "done")
	sent := a.ask("send", fields{"channel": 0x71, "size": 3000, "count": 200, "seed": 9}, "sent")
	sunk := a.ask("await", fields{"channel": 0x71, "count": 200}, "sunk")
	a.check(sunk["totals"].([]any)[1].(map[string]any), fields{"bytes": 600000, "sha256": sent["sha256"]})
	b.ask("echo", fields{"channel": 0x71, "on": false}, "done")
	a.ask("send", fields{"channel": 0x71, "size": 1}, "sent")
	sunk = b.ask("await", fields{"channel": 0x71, "count": 201}, "sunk")
	b.check(sunk["totals"].([]any)[1].(map[string]any), fields{"echoed": 200, "echo_failed": 0})
}

func flood(t *testing.T, release harness.Release) {
	a, b := pair(t, release, "-messages=false")
	timed := a.send("flood", fields{"channel": 0x70, "size": 100, "millis": 200})
	counted := a.send("flood", fields{"channel": 0x71, "size": 8, "count": 10})
	a.check(a.wait("flooded", fields{"request": counted}), fields{"count": 10, "failed": 0, "bytes": 80})
	flooded := a.wait("flooded", fields{"request": timed})
	if number(t, flooded, "count") == 0 || number(t, flooded, "millis") < 200 {
		t.Errorf("%v", flooded)
	}
	a.check(flooded, fields{"failed": 0, "missing": "[]"})
	sunk := b.ask("await", fields{"channel": 0x70, "count": flooded["count"]}, "sunk")
	b.check(sunk["totals"].([]any)[0].(map[string]any), fields{"count": flooded["count"], "bytes": flooded["bytes"]})

	endless := a.send("flood", fields{"channel": 0x70, "size": 8})
	b.ask("await", fields{"channel": 0x70, "count": number(t, flooded, "count") + 10}, "sunk")
	a.ask("stop_flood", fields{"flood": endless}, "done")
	a.wait("flooded", fields{"request": endless})
}

func hold(t *testing.T, release harness.Release) {
	a, b := pair(t, release)
	b.ask("hold", fields{"channel": 0x70}, "done")
	a.ask("send", fields{"channel": 0x70, "size": 10}, "sent")
	b.wait("held", fields{"id": a.id, "channel": 0x70})
	// One goroutine reads for all channels, so the other one stands still as well; what b sends does not.
	a.ask("send", fields{"channel": 0x71, "size": 10}, "sent")
	b.ask("send", fields{"channel": 0x71, "size": 10}, "sent")
	a.wait("message", fields{"channel": 0x71})
	sunk := b.ask("await", fields{"channel": 0x71, "count": 1, "millis": 50}, "sunk")
	b.check(sunk, fields{"reached": false})
	b.check(sunk["totals"].([]any)[0].(map[string]any), fields{"count": 0})
	status := b.ask("status", nil, "status")["peers"].([]any)
	b.check(status[0].(map[string]any), fields{"id": a.id, "outbound": false})
	b.ask("release", fields{"channel": 0x70}, "done")
	b.wait("message", fields{"channel": 0x70})
	b.wait("message", fields{"channel": 0x71})
}

func stopPeer(t *testing.T, release harness.Release) {
	a, b := pair(t, release)
	for session, mode := range []string{"graceful", "error", "flush"} {
		if session > 0 {
			a.connect(b)
		}
		b.send("send", fields{"channel": 0x71, "size": 50000, "count": 20})
		b.wait("sent", fields{"session": session})
		b.ask("stop_peer", fields{"id": a.id, "mode": mode, "reason": "because"}, "done")
		b.wait("peer_down", fields{"id": a.id, "session": session, "added": true, "stopped": mode})
		down := a.wait("peer_down", fields{"id": b.id, "session": session, "stopped": ""})
		if down["reason"] == "" {
			t.Errorf("no reason: %v", down)
		}
	}
	// Only the flushing stop writes what was accepted.
	totals := a.ask("totals", nil, "sunk")["totals"].([]any)
	a.check(totals[5].(map[string]any), fields{"session": 2, "channel": 0x71, "count": 20})
}

func stop(t *testing.T, release harness.Release) {
	a, b := pair(t, release)
	a.ask("stop", nil, "done")
	a.exited()
	b.wait("peer_down", fields{"id": a.id, "stopped": ""})
}

func refusals(t *testing.T, release harness.Release) {
	a := start(t, release, "-allow-duplicate-ip")
	b := start(t, release, "-allow-duplicate-ip")
	refused := func(d *driver, addr, kind, flags string) {
		t.Helper()
		d.check(d.ask("dial", fields{"addr": addr}, "dial_failed"), fields{"addr": addr, "kind": kind, "flags": flags})
	}
	saw := func(kind, flags, reason string) {
		t.Helper()
		line := a.wait("rejected", fields{"kind": kind, "flags": flags})
		if !strings.Contains(line["reason"].(string), reason) {
			t.Errorf("reason without %q: %v", reason, line)
		}
	}

	refused(b, strings.Repeat("ab", 20)+"@"+a.addr, "rejected", "[auth_failure]") // the wrong ID
	saw("rejected", "[auth_failure]", "handshake failed")
	refused(b, b.address(), "rejected", "[self]")
	refused(b, "nonsense", "address", "[]")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	refused(b, a.id+"@"+closed.Addr().String(), "network", "[]")
	otherChain := start(t, release, "-chain-id", "other")
	refused(otherChain, a.address(), "rejected", "[incompatible]")
	saw("rejected", "[incompatible]", "different network")
	otherChannel := start(t, release, "-channels", "0x71:1:1")
	refused(otherChannel, a.address(), "rejected", "[incompatible]")
	saw("rejected", "[incompatible]", "no common channels")

	seed := strings.Repeat("5", 64)
	twins := []*driver{start(t, release, "-seed", seed), start(t, release, "-seed", seed)}
	twins[0].connect(a)
	refused(twins[0], a.address(), "already", "[]")
	twins[1].send("dial", fields{"addr": a.address()})
	saw("rejected", "[duplicate]", "duplicate ID")

	// One address, one peer.
	strict := start(t, release)
	b.connect(strict)
	c := start(t, release)
	refused(c, strict.address(), "rejected", "[auth_failure]")
	strict.wait("rejected", fields{"flags": "[filtered]"})

	// Filters hold in both directions: of connections before the handshake, of peers after it.
	d := start(t, release, "-allow-duplicate-ip")
	picky := start(t, release, "-allow-duplicate-ip", "-refuse-ip", "127.0.0.1")
	refused(d, picky.address(), "rejected", "[auth_failure]")
	picky.wait("rejected", fields{"flags": "[filtered]"})
	refused(picky, d.address(), "rejected", "[filtered]")
	choosy := start(t, release, "-allow-duplicate-ip", "-refuse-id", d.id)
	d.send("dial", fields{"addr": choosy.address()})
	choosy.wait("rejected", fields{"flags": "[filtered]"})
	refused(choosy, d.address(), "rejected", "[filtered]")
	choosy.connect(a)

	// The place of an unconditional peer lets strangers in up to the switch.
	full := start(t, release, "-allow-duplicate-ip", "-max-inbound", "1", "-unconditional", b.id)
	a.connect(full)
	d.send("dial", fields{"addr": full.address()})
	full.wait("rejected", fields{"kind": "too_many_inbound"})
}

// A persistent peer is dialed again as soon as it is lost.
func persist(t *testing.T, release harness.Release) {
	a, b := start(t, release), start(t, release)
	a.ask("persist", fields{"addrs": []string{b.address()}}, "done")
	a.connect(b)
	b.ask("stop_peer", nil, "done")
	a.wait("peer_down", nil)
	a.wait("peer_up", fields{"id": b.id, "outbound": true, "session": 1})
}

func timeout(t *testing.T, release harness.Release) {
	a := start(t, release, "-handshake-timeout", "100ms")
	silent, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	line := a.wait("rejected", fields{"flags": "[auth_failure]"})
	if !strings.Contains(line["reason"].(string), "timeout") {
		t.Errorf("%v", line)
	}
}

func badInput(t *testing.T, release harness.Release) {
	a := start(t, release)
	for _, bad := range []fields{
		{"cmd": "sned"},
		{"cmd": "totals", "chanel": 1},
		{"cmd": "send", "channel": 0x70},
		{"cmd": "hold"},
		{"cmd": "echo", "channel": 0x99},
	} {
		line := fmt.Sprint(bad)
		a.send("status", bad)
		if a.wait("error", fields{"cmd": bad["cmd"]})["error"] == "" {
			t.Errorf("no error for %s", line)
		}
	}
	a.ask("status", nil, "status")
}

// The key is the ed25519 key of RFC 8032 for that seed; its ID is the hash of the public key.
func knownSeed(t *testing.T, release harness.Release) {
	a := start(t, release, "-seed", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	public, _ := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	sum := sha256.Sum256(public)
	if want := hex.EncodeToString(sum[:20]); a.id != want {
		t.Errorf("ID %s, not %s", a.id, want)
	}
}

func number(t *testing.T, line fields, key string) int64 {
	t.Helper()
	n, err := line[key].(json.Number).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
