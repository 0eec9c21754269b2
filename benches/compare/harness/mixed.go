package harness

import (
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bulkSize      = 64 << 10
	importantSize = 200
	pause         = 5 * time.Millisecond
)

type mixture struct {
	Program  string  `json:"program"`
	Version  string  `json:"version"`
	Rate     string  `json:"rate"`
	DelayMs  float64 `json:"delay_ms"`
	Seconds  float64 `json:"seconds"`
	Sent     int     `json:"sent"`     // important ones that Send took or has in hand
	Received int     `json:"received"` // of these
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	Bulk     float64 `json:"bulk_mb_per_s"` // handled by the receiving reactor
	HeldKiB  float64 `json:"held_kib"`      // of bulk: taken from its sender, not handled at the end
	GrownKiB float64 `json:"rss_grown_kib"`
	Note     string  `json:"note,omitempty"`
}

// mixed sends small important messages beside bulk that never ends, whose receiver may be slow. What has not arrived
// at the end counts with its age.
func mixed(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("mixed", flag.ContinueOnError)
	seconds := f.Float64("seconds", 3, "for how long")
	rate := f.String("rate", "unlimited", "limits on the rate: unlimited | default")
	delay := f.Duration("delay", 0, "what the receiver of bulk does for each message")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	options := defaults()
	options.Channels = append(options.Channels, Channel{importantChannel, 10})
	switch {
	case *seconds <= 0:
		return errors.New("want a positive -seconds")
	case *rate == "default":
		if err := unless(true, release.Lacks.Rates); err != nil {
			return err
		}
		options.Rate = 0
	case *rate != "unlimited":
		return errors.New("-rate is unlimited or default")
	}
	origin := time.Now()
	var handled atomic.Int64
	var lock sync.Mutex // of what follows
	sent := map[uint64]time.Duration{}
	var took []time.Duration
	s, err := newStar(release, options, 1, func(_ Peer, channel byte, payload []byte) {
		if channel == bulkChannel {
			time.Sleep(*delay)
			handled.Add(1)
			return
		}
		now, number := time.Since(origin), binary.LittleEndian.Uint64(payload)
		lock.Lock()
		defer lock.Unlock()
		took = append(took, now-sent[number])
		delete(sent, number)
	}, func([]byte) {})
	if err != nil {
		return err
	}
	defer s.stop()

	var taken atomic.Int64
	var stop, failed atomic.Bool
	bulk := make([]byte, bulkSize)
	grown := residentKiB()
	begin := time.Now()
	go func() {
		for !stop.Load() {
			if !s.peers[0].Send(bulkChannel, bulk) {
				failed.Store(!stop.Load())
				return
			}
			taken.Add(1)
		}
	}()
	go func() {
		ticks := time.NewTicker(pause)
		defer ticks.Stop()
		for number := uint64(0); !stop.Load(); number++ {
			<-ticks.C
			message := make([]byte, importantSize)
			binary.LittleEndian.PutUint64(message, number)
			lock.Lock()
			sent[number] = time.Since(origin)
			lock.Unlock()
			if !s.peers[0].Send(importantChannel, message) {
				failed.Store(!stop.Load())
				return
			}
		}
	}()
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	elapsed := time.Since(begin)
	held := float64(taken.Load()-handled.Load()) * bulkSize / 1024
	megabytes := float64(handled.Load()) * bulkSize / 1e6
	grown = residentKiB() - grown
	stop.Store(true)
	if failed.Load() {
		return errors.New("a Send failed: it timed out or the peer is gone")
	}
	lock.Lock()
	received, now := len(took), time.Since(origin)
	for _, at := range sent {
		took = append(took, now-at)
	}
	times := slices.Clone(took)
	lock.Unlock()
	slices.Sort(times)
	return report(output, mixture{
		Program: "mixed", Version: release.Version, Rate: *rate, DelayMs: float64(*delay) / 1e6,
		Seconds: elapsed.Seconds(), Sent: len(times), Received: received,
		P50: percentile(times, 50), P99: percentile(times, 99), Max: percentile(times, 100),
		Bulk: megabytes / elapsed.Seconds(), HeldKiB: max(held, 0), GrownKiB: grown, Note: release.Lacks.Note,
	})
}
