package main

import (
	"net"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/pex"

	"tmp2p.test/compare/harness"
)

var books = harness.Books(pex.NewAddrBook, nodeAddress, func(addr *p2p.NetAddress) p2p.ID { return addr.ID })

func nodeAddress(id, ip string, port uint16) *p2p.NetAddress {
	addr := p2p.NewNetAddressIPPort(net.ParseIP(ip), port)
	addr.ID = p2p.ID(id)
	return addr
}
