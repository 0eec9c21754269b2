package harness

import (
	"bufio"
	"bytes"
	"flag"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
)

type listening struct {
	Event   string `json:"event"`
	Version string `json:"version"`
	Addr    string `json:"addr"`
}

type figures struct {
	Peers  int     `json:"peers"`
	RSSKiB float64 `json:"rss_kib"`
	CPU    float64 `json:"cpu_s"`
}

type listened struct {
	Event      string  `json:"event"`
	Version    string  `json:"version"`
	PeersAdded uint64  `json:"peers_added"`
	CPUSeconds float64 `json:"cpu_s"`
	CPUEachUs  float64 `json:"cpu_us_each"`
}

// listen accepts peers and sends back what they send, answers each line with its figures, and when it is told to stop
// prints how many peers the switch added.
func listen(release Release, args []string, input *os.File, output, errs io.Writer) error {
	var c common
	options := defaults()
	f := flag.NewFlagSet("listen", flag.ContinueOnError)
	c.register(f)
	f.StringVar(&options.Address, "laddr", options.Address, "host:port to listen on; port 0 takes a free one")
	f.IntVar(&options.MaxInbound, "max-inbound", 100000, "inbound peers at a time")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	options.Network, options.Channels, options.Rate = c.network, []Channel{{byte(c.channel), 1}}, 0
	var added atomic.Uint64
	sw, addr, err := start(release, options, Sink{
		Added:    func(Peer) { added.Add(1) },
		Received: func(from Peer, channel byte, payload []byte) { from.Send(channel, bytes.Clone(payload)) },
	})
	if err != nil {
		return err
	}
	before := cpu()
	if err := report(output, listening{"listening", release.Version, addr}); err != nil {
		return err
	}
	serve(input, func() error {
		used := cpu() - before
		// What is garbage is not the peers'.
		debug.FreeOSMemory()
		return report(output, figures{sw.Peers(), residentKiB(), used.Seconds()})
	})
	used, count := cpu()-before, added.Load()
	sw.Stop()
	result := listened{"stopped", release.Version, count, used.Seconds(), 0}
	if count > 0 {
		result.CPUEachUs = float64(used.Microseconds()) / float64(count)
	}
	return report(output, result)
}

// serve answers each line of the input, and returns at SIGTERM, SIGINT or the input's end. A shell gives background
// jobs /dev/null, whose end says nothing; a terminal is not read either.
func serve(input *os.File, answer func() error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan struct{})
	if info, err := input.Stat(); err == nil && info.Mode()&os.ModeCharDevice == 0 {
		go func() {
			defer close(ended)
			lines := bufio.NewScanner(input)
			for lines.Scan() {
				if answer() != nil {
					return
				}
			}
		}()
	}
	select {
	case <-signals:
	case <-ended:
	}
}
