// The interop peer built against CometBFT v0.38: see ../README.md.
package main

import (
	"github.com/cometbft/cometbft/version"

	"tmp2p.test/interop/harness"
)

var release = harness.Release{Version: version.TMCoreSemVer, New: newNode, Judge: judge}

func main() {
	harness.Main(release)
}
