package harness

import (
	"flag"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

type listening struct {
	Event   string `json:"event"`
	Version string `json:"version"`
	Addr    string `json:"addr"`
}

type listened struct {
	Event      string  `json:"event"`
	Version    string  `json:"version"`
	PeersAdded uint64  `json:"peers_added"`
	CPUSeconds float64 `json:"cpu_s"`
	CPUEachUs  float64 `json:"cpu_us_each"`
}

// listen accepts peers until it is told to stop, then prints how many the switch added.
func listen(release Release, args []string, input *os.File, output, errs io.Writer) error {
	var c common
	f := flag.NewFlagSet("listen", flag.ContinueOnError)
	c.register(f)
	address := f.String("laddr", "127.0.0.1:0", "host:port to listen on; port 0 takes a free one")
	maxInbound := f.Int("max-inbound", 100000, "inbound peers at a time")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	var added atomic.Uint64
	sw, addr, err := start(release, SwitchOptions{
		Address: *address, Network: c.network, Channel: byte(c.channel), MaxInbound: *maxInbound, Queue: 1, Packet: 1024,
	}, Sink{
		Added:    func(func([]byte) bool) { added.Add(1) },
		Received: func(int) {},
	})
	if err != nil {
		return err
	}
	before := cpu()
	if err := report(output, listening{"listening", release.Version, addr}); err != nil {
		return err
	}
	waitForEnd(input)
	used, count := cpu()-before, added.Load()
	sw.Stop()
	result := listened{"stopped", release.Version, count, used.Seconds(), 0}
	if count > 0 {
		result.CPUEachUs = float64(used.Microseconds()) / float64(count)
	}
	return report(output, result)
}

// waitForEnd returns at SIGTERM, SIGINT or the end of input. A shell gives background jobs /dev/null, whose end says
// nothing; a terminal is not read either.
func waitForEnd(input *os.File) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan struct{})
	if info, err := input.Stat(); err == nil && info.Mode()&os.ModeCharDevice == 0 {
		go func() {
			_, _ = io.Copy(io.Discard, input)
			close(ended)
		}()
	}
	select {
	case <-signals:
	case <-ended:
	}
}
