package harness

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

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

// dial makes connections to a listener, each with a key of its own: TCP, handshake, one ping answered, close.
func dial(release Release, args []string, _ *os.File, output, errs io.Writer) error {
	var c common
	f := flag.NewFlagSet("dial", flag.ContinueOnError)
	c.register(f)
	addr := f.String("addr", "", "id@host:port of the listener")
	n := f.Int("n", 1000, "connections in all")
	concurrent := f.Int("concurrent", 16, "connections at a time")
	timeout := f.Duration("timeout", 10*time.Second, "for one connection, all steps")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	id, hostPort, ok := strings.Cut(*addr, "@")
	if !ok || *n < 1 || *concurrent < 1 {
		return errors.New("want -addr id@host:port and positive -n and -concurrent")
	}
	keys := make([]ed25519.PrivateKey, *n)
	for i := range keys {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		keys[i] = key
	}

	took := make([]time.Duration, *n) // zero: failed
	var next atomic.Int64
	var dialers sync.WaitGroup
	var once sync.Once
	result := dialed{Program: "dial", Version: release.Version, N: *n, Concurrent: *concurrent}
	start, before := time.Now(), cpu()
	for range *concurrent {
		dialers.Add(1)
		go func() {
			defer dialers.Done()
			for i := next.Add(1) - 1; i < int64(*n); i = next.Add(1) - 1 {
				begin := time.Now()
				err := dialOnce(release, hostPort, *timeout, Handshake{
					Key: keys[i], ID: id, Network: c.network, Channel: byte(c.channel),
				})
				if err != nil {
					once.Do(func() { result.FirstError = err.Error() })
					continue
				}
				took[i] = time.Since(begin)
			}
		}()
	}
	dialers.Wait()
	elapsed, used := time.Since(start), cpu()-before

	slices.Sort(took)
	for len(took) > 0 && took[0] == 0 {
		took = took[1:]
	}
	result.OK, result.Failed = len(took), *n-len(took)
	result.Seconds = elapsed.Seconds()
	result.PerSecond = float64(result.OK) / elapsed.Seconds()
	result.CPUEachUs = float64(used.Microseconds()) / float64(*n)
	result.P50, result.P90 = percentile(took, 50), percentile(took, 90)
	result.P99, result.Max = percentile(took, 99), percentile(took, 100)
	return report(output, result)
}

func dialOnce(release Release, hostPort string, timeout time.Duration, h Handshake) error {
	conn, err := net.DialTimeout("tcp", hostPort, timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	h.Conn = conn
	if err := release.Handshake(h); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	return nil
}

// percentile is in milliseconds, of sorted times (nearest rank).
func percentile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*percent + 99) / 100
	return float64(sorted[max(rank, 1)-1].Microseconds()) / 1000
}
