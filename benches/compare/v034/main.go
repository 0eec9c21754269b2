// The comparison program built against Tendermint v0.34: see ../README.md.
package main

import (
	"github.com/tendermint/tendermint/version"

	"tmp2p.test/compare/harness"
)

var release = harness.Release{Version: version.TMCoreSemVer, NewSwitch: newSwitch, Connect: connect, Books: books}

func main() {
	harness.Main(release)
}
