package harness

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"time"
)

// What the book is offered, and how many nodes tell of it: as in benches/addrbook.
const (
	offered = (256 + 64) * 64
	sources = 500
)

// NodeAddress is in the release's own form.
type NodeAddress any

// Book is one release's address book, with only routable addresses.
type Book interface {
	Add(addr, source NodeAddress) error
	MarkGood(addr NodeAddress)
	// Pick says whether there was an address.
	Pick(bias int) bool
	// Select says how many addresses there were.
	Select() int
	Size() int
	// Save writes the file, as the release does on its own every two minutes.
	Save()
	// Load reads the file. Once, and not after anything else.
	Load() error
}

// BookMaker makes books of one release.
type BookMaker struct {
	New     func(file string) Book
	Address func(id, ip string, port uint16) NodeAddress
}

// releaseBook is the same interface in all releases but for their types.
type releaseBook[A comparable, I any] interface {
	AddAddress(addr, source A) error
	MarkGood(id I)
	PickAddress(bias int) A
	GetSelection() []A
	Size() int
	Save()
	Start() error
}

// Books makes a release's own books, strict ones, and addresses: of an ID, an IP address and a port.
func Books[B releaseBook[A, I], A comparable, I any](
	open func(file string, strict bool) B, address func(id, ip string, port uint16) A, id func(addr A) I,
) BookMaker {
	return BookMaker{
		New:     func(file string) Book { return anyBook[A, I]{open(file, true), id} },
		Address: func(id, ip string, port uint16) NodeAddress { return address(id, ip, port) },
	}
}

// anyBook is a release's book without its types.
type anyBook[A comparable, I any] struct {
	releaseBook[A, I]
	id func(addr A) I
}

func (b anyBook[A, I]) Add(addr, source NodeAddress) error {
	return b.AddAddress(addr.(A), source.(A))
}

func (b anyBook[A, I]) MarkGood(addr NodeAddress) {
	b.releaseBook.MarkGood(b.id(addr.(A)))
}

func (b anyBook[A, I]) Pick(bias int) bool {
	var none A
	return b.PickAddress(bias) != none
}

func (b anyBook[A, I]) Select() int {
	return len(b.GetSelection())
}

func (b anyBook[A, I]) Load() error {
	return b.Start()
}

type bookResult struct {
	Program   string  `json:"program"`
	Version   string  `json:"version"`
	Case      string  `json:"case"`
	Addresses int     `json:"addresses"`
	Count     int     `json:"count"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

type offer struct{ addr, source NodeAddress }

func book(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("book", flag.ContinueOnError)
	name := f.String("case", "add", "add | pick | selection | export | load")
	count := f.Int("count", 1, "how often; add counts whole books")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	if err := unless(true, release.Lacks.Books); err != nil {
		return err
	}
	if *count < 1 {
		return fmt.Errorf("-count wants a number above 0, not %d", *count)
	}
	folder, err := os.MkdirTemp("", "compare-book")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "addrbook.json")
	offers := offers(release.Books)
	full := release.Books.New(file)
	if err := fill(full, offers); err != nil {
		return err
	}
	var seconds float64
	operations := *count
	switch *name {
	case "add":
		operations *= offered
		for n := 0; n < *count; n++ {
			empty := release.Books.New(file)
			start := time.Now()
			for _, offer := range offers {
				if err := empty.Add(offer.addr, offer.source); err != nil {
					return err
				}
			}
			seconds += time.Since(start).Seconds()
		}
	case "pick":
		start := time.Now()
		for n := 0; n < *count; n++ {
			if !full.Pick(n%101) && n%101 != 0 && n%101 != 100 {
				return fmt.Errorf("nothing was picked with bias %d", n%101)
			}
		}
		seconds = time.Since(start).Seconds()
	case "selection":
		start := time.Now()
		for n := 0; n < *count; n++ {
			if got := full.Select(); got != 250 {
				return fmt.Errorf("a selection of %d", got)
			}
		}
		seconds = time.Since(start).Seconds()
	case "export":
		start := time.Now()
		for n := 0; n < *count; n++ {
			full.Save()
		}
		seconds = time.Since(start).Seconds()
	case "load":
		full.Save()
		for n := 0; n < *count; n++ {
			empty := release.Books.New(file)
			start := time.Now()
			if err := empty.Load(); err != nil {
				return err
			}
			seconds += time.Since(start).Seconds()
			if empty.Size() != full.Size() {
				return fmt.Errorf("%d of %d addresses came back", empty.Size(), full.Size())
			}
		}
	default:
		return fmt.Errorf("no case %q", *name)
	}
	return report(output, bookResult{
		Program: "book", Version: release.Version, Case: *name, Addresses: full.Size(), Count: operations,
		Seconds: seconds, PerSecond: float64(operations) / seconds,
	})
}

// offers are what peers tell: as many addresses as all buckets hold.
func offers(books BookMaker) []offer {
	random := rand.New(rand.NewSource(1))
	node := func() NodeAddress {
		id := make([]byte, 20)
		random.Read(id)
		ip := fmt.Sprintf("%d.%d.%d.%d", 11+random.Intn(89), random.Intn(256), random.Intn(256), random.Intn(256))
		return books.Address(fmt.Sprintf("%x", id), ip, 26656)
	}
	tellers := make([]NodeAddress, sources)
	for n := range tellers {
		tellers[n] = node()
	}
	all := make([]offer, offered)
	for n := range all {
		all[n] = offer{node(), tellers[n%sources]}
	}
	return all
}

// fill makes a fifth of them good.
func fill(book Book, offers []offer) error {
	for n, offer := range offers {
		if err := book.Add(offer.addr, offer.source); err != nil {
			return err
		}
		if n%5 == 0 {
			book.MarkGood(offer.addr)
		}
	}
	return nil
}
