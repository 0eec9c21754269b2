package harness

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// exchanged is how much each held connection has carried both ways.
const exchanged = 64 << 10

type dialed struct {
	Program    string  `json:"program"`
	Version    string  `json:"version"`
	N          int     `json:"n"`
	Concurrent int     `json:"concurrent"`
	OK         int     `json:"ok"`
	Failed     int     `json:"failed"`
	FirstError string  `json:"first_error,omitempty"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"per_second"` // successful ones
	P50        float64 `json:"p50_ms"`
	P90        float64 `json:"p90_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	CPUEachUs  float64 `json:"cpu_us_each"`
}

type held struct {
	Program string `json:"program"`
	Version string `json:"version"`
	Held    int    `json:"held"`
}

// dial makes connections to a listener, each with a key of its own: connect, handshake, an answer, close.
func dial(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("dial", flag.ContinueOnError)
	d := newDialers(f)
	if err := d.parse(args, errs); err != nil {
		return err
	}
	took := make([]time.Duration, d.n) // zero: failed
	result := dialed{Program: "dial", Version: release.Version, N: d.n, Concurrent: d.concurrent}
	start, before := time.Now(), cpu()
	firstError := d.each(func(n int, options ConnectOptions) error {
		begin := time.Now()
		conn, err := release.Connect(options)
		if err != nil {
			return err
		}
		took[n] = time.Since(begin)
		conn.Close()
		return nil
	})
	elapsed, used := time.Since(start), cpu()-before
	if firstError != nil {
		result.FirstError = firstError.Error()
	}

	slices.Sort(took)
	for len(took) > 0 && took[0] == 0 {
		took = took[1:]
	}
	result.OK, result.Failed = len(took), d.n-len(took)
	result.Seconds = elapsed.Seconds()
	result.PerSecond = float64(result.OK) / elapsed.Seconds()
	result.CPUEachUs = float64(used.Microseconds()) / float64(d.n)
	result.P50, result.P90 = percentile(took, 50), percentile(took, 90)
	result.P99, result.Max = percentile(took, 99), percentile(took, 100)
	return report(output, result)
}

// hold makes connections, lets each carry a message both ways, and holds them until its input ends.
func hold(release Release, args []string, input *os.File, output, errs io.Writer) error {
	f := flag.NewFlagSet("hold", flag.ContinueOnError)
	d := newDialers(f)
	if err := d.parse(args, errs); err != nil {
		return err
	}
	conns := make([]Conn, d.n)
	err := d.each(func(n int, options ConnectOptions) error {
		conn, err := release.Connect(options)
		if err != nil {
			return err
		}
		conns[n] = conn
		return conn.Echo(make([]byte, exchanged))
	})
	if err != nil {
		return err
	}
	if err := report(output, held{"hold", release.Version, d.n}); err != nil {
		return err
	}
	serve(input, func() error { return nil })
	for _, conn := range conns {
		conn.Close()
	}
	return nil
}

// dialers are some connections to one listener.
type dialers struct {
	common
	flags         *flag.FlagSet
	addr          string
	n, concurrent int
	timeout       time.Duration
	host, id      string
	keys          []ed25519.PrivateKey
}

func newDialers(f *flag.FlagSet) *dialers {
	d := &dialers{flags: f}
	d.register(f)
	f.StringVar(&d.addr, "addr", "", "id@host:port of the listener")
	f.IntVar(&d.n, "n", 1000, "connections in all")
	f.IntVar(&d.concurrent, "concurrent", 16, "connections made at a time")
	f.DurationVar(&d.timeout, "timeout", 10*time.Second, "for one connection, all steps")
	return d
}

// parse also makes the keys.
func (d *dialers) parse(args []string, errs io.Writer) error {
	if err := parse(d.flags, args, errs); err != nil {
		return err
	}
	var ok bool
	d.id, d.host, ok = strings.Cut(d.addr, "@")
	if !ok || d.n < 1 || d.concurrent < 1 {
		return errors.New("want -addr id@host:port and positive -n and -concurrent")
	}
	d.keys = make([]ed25519.PrivateKey, d.n)
	for i := range d.keys {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		d.keys[i] = key
	}
	return nil
}

// each makes the connections; the first error of any.
func (d *dialers) each(connect func(n int, options ConnectOptions) error) (first error) {
	var next atomic.Int64
	var all sync.WaitGroup
	var once sync.Once
	for range d.concurrent {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := int(next.Add(1) - 1); i < d.n; i = int(next.Add(1) - 1) {
				err := connect(i, ConnectOptions{
					Address: d.host, ID: d.id, Key: d.keys[i], Network: d.network, Channel: byte(d.channel),
					Timeout: d.timeout,
				})
				if err != nil {
					once.Do(func() { first = fmt.Errorf("connection %d: %w", i, err) })
				}
			}
		}()
	}
	all.Wait()
	return first
}

// percentile is in milliseconds, of sorted times (nearest rank).
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return float64(sorted[max(rank, 1)-1].Nanoseconds()) / 1e6
}
