package main

import (
	"testing"

	"tmp2p.test/compare/harness/selftest"
)

func TestCompare(t *testing.T) {
	selftest.Run(t, release)
}
