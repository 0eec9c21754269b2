package harness

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"time"
)

type roundTrips struct {
	Program   string  `json:"program"`
	Version   string  `json:"version"`
	Size      int     `json:"size"`
	Throttle  string  `json:"throttle"`
	Samples   int     `json:"samples"`
	P50       float64 `json:"p50_us"`
	P90       float64 `json:"p90_us"`
	P99       float64 `json:"p99_us"`
	Max       float64 `json:"max_us"`
	CPUEachUs float64 `json:"cpu_us_each"`
}

// rtt sends one message, waits until the other side's reactor has sent it back, and begins again.
func rtt(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("rtt", flag.ContinueOnError)
	size := f.Int("size", 100, "bytes of a message")
	seconds := f.Float64("seconds", 1.5, "for how long")
	throttle := f.String("throttle", "default", "flush throttle: default, or a duration as 0s")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	if *size < 2 || *seconds <= 0 {
		return errors.New("want a -size above 1 and a positive -seconds")
	}
	options := defaults()
	if *throttle != "default" {
		if err := unless(true, release.Lacks.Throttle); err != nil {
			return err
		}
		duration, err := time.ParseDuration(*throttle)
		if err != nil {
			return err
		}
		options.Throttle = duration
	}
	answers := make(chan struct{}, 1)
	s, err := newStar(release, options, 1, func(from Peer, channel byte, payload []byte) {
		from.Send(channel, bytes.Clone(payload))
	}, func([]byte) { answers <- struct{}{} })
	if err != nil {
		return err
	}
	defer s.stop()
	payload := make([]byte, *size)
	var took []time.Duration
	before, end := cpu(), time.Now().Add(time.Duration(*seconds*float64(time.Second)))
	for len(took) < 3 || time.Now().Before(end) {
		begin := time.Now()
		if !s.peers[0].Send(bulkChannel, payload) {
			return errors.New("a Send failed: it timed out or the peer is gone")
		}
		select {
		case <-answers:
		case <-time.After(afterwards):
			return errors.New("no answer came")
		}
		took = append(took, time.Since(begin))
	}
	used := cpu() - before
	slices.Sort(took)
	us := func(percent int) float64 { return percentile(took, percent) * 1000 }
	return report(output, roundTrips{
		Program: "rtt", Version: release.Version, Size: *size, Throttle: *throttle, Samples: len(took),
		P50: us(50), P90: us(90), P99: us(99), Max: us(100),
		CPUEachUs: float64(used.Microseconds()) / float64(len(took)),
	})
}
