package main

import (
	"net"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/pex"

	"tmp2p.test/compare/harness"
)

var books = harness.BookMaker{New: newBook, Address: nodeAddress}

type book struct{ pex.AddrBook }

func newBook(file string) harness.Book {
	return book{pex.NewAddrBook(file, true)}
}

func nodeAddress(id, ip string, port uint16) harness.NodeAddress {
	addr := p2p.NewNetAddressIPPort(net.ParseIP(ip), port)
	addr.ID = p2p.ID(id)
	return addr
}

func (b book) Add(addr, source harness.NodeAddress) error {
	return b.AddAddress(addr.(*p2p.NetAddress), source.(*p2p.NetAddress))
}

func (b book) MarkGood(addr harness.NodeAddress) {
	b.AddrBook.MarkGood(addr.(*p2p.NetAddress).ID)
}

func (b book) Pick(bias int) bool {
	return b.PickAddress(bias) != nil
}

func (b book) Select() int {
	return len(b.GetSelection())
}

func (b book) Load() error {
	return b.Start()
}
