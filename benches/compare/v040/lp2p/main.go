// The comparison program built against CometBFT v0.40's p2p over libp2p: see ../../README.md.
package main

import "tmp2p.test/compare/harness"

// The version is the module's: what the release says of itself is 0.39.0.
var release = harness.Release{
	Version: "0.40.0 lp2p", NewSwitch: newSwitch, Connect: connect, Lacks: harness.Lacks{
		Packets:  "each message is a QUIC stream of its own: there are no packets whose size could be set",
		Queues:   "a send opens a stream and waits for nothing: there is no queue",
		Rates:    "it has no limits on the rate",
		Throttle: "it has no flush throttle",
		Books:    "it has no address book",
		Delivery: "now and then a message that Send has taken never arrives, and nobody is told",
		Note: "no priorities among what is sent and no back-pressure from a reactor: what has come waits in a queue " +
			"without bound, from which 4 to 32 calls at a time take",
	},
}

func main() {
	harness.Main(release)
}
