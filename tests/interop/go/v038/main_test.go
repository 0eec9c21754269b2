package main

import (
	"testing"

	"tmp2p.test/interop/harness/selftest"
)

func TestPeer(t *testing.T) {
	selftest.Run(t, release)
}
