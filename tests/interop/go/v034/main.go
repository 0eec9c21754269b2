// The interop peer built against Tendermint v0.34: see ../README.md.
package main

import (
	"github.com/tendermint/tendermint/version"

	"tmp2p.test/interop/harness"
)

var release = harness.Release{Version: version.TMCoreSemVer, New: newNode, Judge: judge}

func main() {
	harness.Main(release)
}
