// The comparison program built against CometBFT v0.40, its TCP p2p: see ../README.md.
package main

import "tmp2p.test/compare/harness"

// releaseVersion is the module's: what the release says of itself is 0.39.0.
const releaseVersion = "0.40.0"

var release = harness.Release{Version: releaseVersion, NewSwitch: newSwitch, Connect: connect, Books: books}

func main() {
	harness.Main(release)
}
