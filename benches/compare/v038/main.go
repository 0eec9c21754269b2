// The comparison program built against CometBFT v0.38: see ../README.md.
package main

import (
	"github.com/cometbft/cometbft/version"

	"tmp2p.test/compare/harness"
)

var release = harness.Release{Version: version.TMCoreSemVer, NewSwitch: newSwitch, Connect: connect, Books: books}

func main() {
	harness.Main(release)
}
