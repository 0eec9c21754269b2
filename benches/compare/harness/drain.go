package harness

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

type drained struct {
	Program    string  `json:"program"`
	Version    string  `json:"version"`
	Size       int     `json:"size"`
	Senders    int     `json:"senders"`
	Packet     int     `json:"packet"`
	Queue      int     `json:"queue"`
	Rate       int64   `json:"rate"`
	Messages   int64   `json:"messages"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	MBPerS     float64 `json:"mb_per_s"`     // 10^6 bytes
	CPUSPerGB  float64 `json:"cpu_s_per_gb"` // both ends, 10^9 bytes
	CPUSeconds float64 `json:"cpu_s"`
}

// drain moves bytes one way between two switches of this process.
func drain(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("drain", flag.ContinueOnError)
	size := f.Int("size", 65536, "bytes of a message")
	bytes := f.Int64("bytes", 256<<20, "bytes in all, rounded down to whole messages")
	senders := f.Int("senders", 1, "goroutines that send")
	packet := f.Int("packet", 1024, "largest packet payload")
	queue := f.Int("queue", 1, "capacity of the send queue")
	rate := f.Int64("rate", 1<<40, "bytes per second both ways; 0 is the release's default")
	timeout := f.Duration("timeout", 5*time.Minute, "for everything")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	if *size < 1 || *senders < 1 || *bytes < int64(*size) {
		return errors.New("want positive -size and -senders, and -bytes for at least one message")
	}
	messages := *bytes / int64(*size)
	total := messages * int64(*size)

	options := SwitchOptions{
		Address: "127.0.0.1:0", Network: "compare", Channel: 0x30, MaxInbound: 40,
		Queue: *queue, Packet: *packet, Rate: *rate,
	}
	peer := make(chan func([]byte) bool, 1)
	arrived := make(chan struct{})
	var received atomic.Int64
	ready := make(chan struct{})
	to, addr, err := start(release, options, Sink{
		Added: func(func([]byte) bool) { close(ready) },
		Received: func(n int) {
			if received.Add(int64(n)) == total {
				close(arrived)
			}
		},
	})
	if err != nil {
		return err
	}
	defer to.Stop()
	from, _, err := start(release, options, Sink{
		Added:    func(send func([]byte) bool) { peer <- send },
		Received: func(int) {},
	})
	if err != nil {
		return err
	}
	defer from.Stop()
	if err := from.Dial(addr); err != nil {
		return err
	}
	send := <-peer
	<-ready

	var next atomic.Int64
	refused := make(chan struct{}, *senders)
	payload := make([]byte, *size)
	begin, before := time.Now(), cpu()
	for range *senders {
		go func() {
			for next.Add(1) <= messages {
				if !send(payload) {
					refused <- struct{}{}
					return
				}
			}
		}()
	}
	select {
	case <-arrived:
	case <-refused:
		return errors.New("a Send failed: it timed out or the peer is gone")
	case <-time.After(*timeout):
		return fmt.Errorf("only %d of %d bytes arrived", received.Load(), total)
	}
	elapsed, used := time.Since(begin), cpu()-before
	return report(output, drained{
		Program: "drain", Version: release.Version, Size: *size, Senders: *senders, Packet: *packet, Queue: *queue,
		Rate: *rate, Messages: messages, Bytes: total,
		Seconds:    elapsed.Seconds(),
		MBPerS:     float64(total) / 1e6 / elapsed.Seconds(),
		CPUSPerGB:  used.Seconds() / (float64(total) / 1e9),
		CPUSeconds: used.Seconds(),
	})
}
