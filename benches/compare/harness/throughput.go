package harness

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// afterwards is how long what was sent may take to arrive.
const afterwards = time.Minute

// silence is how long after the last one the others are lost, where messages may be.
const silence = 3 * time.Second

type throughput struct {
	Program    string  `json:"program"`
	Version    string  `json:"version"`
	Size       int     `json:"size"`
	Senders    int     `json:"senders,omitempty"`
	Peers      int     `json:"peers,omitempty"`
	Packet     int     `json:"packet"`
	Queue      int     `json:"queue"`
	Messages   int64   `json:"messages"`
	Lost       int64   `json:"lost"` // beside these messages: sent and never received
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	MBPerS     float64 `json:"mb_per_s"`     // 10^6 bytes
	CPUSPerGB  float64 `json:"cpu_s_per_gb"` // all ends, 10^9 bytes
	CPUSeconds float64 `json:"cpu_s"`
}

// drain moves messages one way between two switches of this process.
func drain(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("drain", flag.ContinueOnError)
	options, flags := throughputFlags(f)
	senders := f.Int("senders", 1, "goroutines that send")
	if err := flags.parse(release, args, errs, options); err != nil {
		return err
	}
	if *senders < 1 {
		return errors.New("want a positive -senders")
	}
	flow := newFlow()
	s, err := newStar(release, *options, 1, flow.received, func([]byte) {})
	if err != nil {
		return err
	}
	defer s.stop()
	payload := make([]byte, flags.size)
	result, err := flow.measure(flags.seconds, *senders, 1, release.Lacks.Delivery != "", func() bool {
		return s.peers[0].Send(bulkChannel, payload)
	})
	if err != nil {
		return err
	}
	result.Program, result.Version, result.Senders = "drain", release.Version, *senders
	return report(output, flags.finish(result, options))
}

// broadcast sends each message to some peers, and waits until all of them have taken it: as the releases' Broadcast
// does, a goroutine for each.
func broadcast(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("broadcast", flag.ContinueOnError)
	options, flags := throughputFlags(f)
	peers := f.Int("peers", 7, "switches that receive")
	if err := flags.parse(release, args, errs, options); err != nil {
		return err
	}
	if *peers < 1 {
		return errors.New("want positive -peers")
	}
	flow := newFlow()
	s, err := newStar(release, *options, *peers, flow.received, func([]byte) {})
	if err != nil {
		return err
	}
	defer s.stop()
	payload := make([]byte, flags.size)
	result, err := flow.measure(flags.seconds, 1, int64(*peers), release.Lacks.Delivery != "", func() bool {
		var all sync.WaitGroup
		var failed atomic.Bool
		for _, peer := range s.peers {
			all.Add(1)
			go func() {
				defer all.Done()
				if !peer.Send(bulkChannel, payload) {
					failed.Store(true)
				}
			}()
		}
		all.Wait()
		return !failed.Load()
	})
	if err != nil {
		return err
	}
	result.Program, result.Version, result.Peers = "broadcast", release.Version, *peers
	return report(output, flags.finish(result, options))
}

// throughputOptions are the flags of both.
type throughputOptions struct {
	flags   *flag.FlagSet
	size    int
	seconds float64
}

func throughputFlags(f *flag.FlagSet) (*SwitchOptions, *throughputOptions) {
	options, flags := defaults(), &throughputOptions{flags: f}
	f.IntVar(&flags.size, "size", 65536, "bytes of a message")
	f.Float64Var(&flags.seconds, "seconds", 1.5, "how long messages are sent; then all of them must arrive")
	f.IntVar(&options.Packet, "packet", options.Packet, "largest packet payload")
	f.IntVar(&options.Queue, "queue", options.Queue, "capacity of the send queue")
	return &options, flags
}

func (flags *throughputOptions) parse(release Release, args []string, errs io.Writer, o *SwitchOptions) error {
	if err := parse(flags.flags, args, errs); err != nil {
		return err
	}
	if flags.size < 2 || flags.seconds <= 0 {
		return errors.New("want a -size above 1 and a positive -seconds")
	}
	if err := unless(o.Packet != defaults().Packet, release.Lacks.Packets); err != nil {
		return err
	}
	return unless(o.Queue != defaults().Queue, release.Lacks.Queues)
}

func (flags *throughputOptions) finish(result throughput, options *SwitchOptions) throughput {
	bytes := result.Messages * int64(flags.size)
	result.Size, result.Packet, result.Queue, result.Bytes = flags.size, options.Packet, options.Queue, bytes
	result.MBPerS = float64(bytes) / 1e6 / result.Seconds
	result.CPUSPerGB = result.CPUSeconds / (float64(bytes) / 1e9)
	return result
}

// flow counts what arrives.
type flow struct {
	count  atomic.Int64
	target atomic.Int64
	done   chan struct{}
	once   sync.Once
}

func newFlow() *flow {
	f := &flow{done: make(chan struct{})}
	f.target.Store(math.MaxInt64)
	return f
}

func (f *flow) received(Peer, byte, []byte) {
	if f.count.Add(1) >= f.target.Load() {
		f.once.Do(func() { close(f.done) })
	}
}

// measure is from the first send until the last message has arrived; each send is to so many peers.
func (f *flow) measure(seconds float64, senders int, peers int64, mayLose bool, send func() bool) (throughput, error) {
	var sent atomic.Int64
	var stop, failed atomic.Bool
	var sending sync.WaitGroup
	begin, before := time.Now(), cpu()
	for range senders {
		sending.Add(1)
		go func() {
			defer sending.Done()
			for !stop.Load() {
				if !send() {
					failed.Store(true)
					return
				}
				sent.Add(peers)
			}
		}()
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	stop.Store(true)
	sending.Wait()
	if failed.Load() {
		return throughput{}, errors.New("a Send failed: it timed out or the peer is gone")
	}
	f.target.Store(sent.Load())
	end, err := f.wait(sent.Load(), mayLose)
	if err != nil {
		return throughput{}, err
	}
	used, arrived := cpu()-before, f.count.Load()
	return throughput{
		Messages: arrived, Lost: sent.Load() - arrived, Seconds: end.Sub(begin).Seconds(), CPUSeconds: used.Seconds(),
	}, nil
}

// wait ends when all have arrived, or, where messages may be lost, when no more arrive; when the last one has.
func (f *flow) wait(sent int64, mayLose bool) (time.Time, error) {
	// What came before the target was known has not told.
	last, count := time.Now(), f.count.Load()
	started := last
	for count < sent {
		select {
		case <-f.done:
			return time.Now(), nil
		case <-time.After(10 * time.Millisecond):
		}
		now := f.count.Load()
		if now > count {
			last, count = time.Now(), now
		}
		switch {
		case mayLose && time.Since(last) > silence:
			return last, nil
		case time.Since(started) > afterwards:
			return last, fmt.Errorf("only %d of %d messages arrived", count, sent)
		}
	}
	return time.Now(), nil
}
