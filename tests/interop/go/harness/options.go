package harness

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Unlimited stands in for rate 0: far above what a socket carries, far below what overflows the rate monitor.
const Unlimited = int64(1) << 40

// Options are the flags of the peer program.
type Options struct {
	ListenAddress    string
	ChainID          string
	Moniker          string
	Channels         []Channel
	Seed             []byte // 32 bytes, or empty for a random key
	PingInterval     time.Duration
	PongTimeout      time.Duration
	SendRate         int64
	RecvRate         int64
	MaxPacketPayload int
	FlushThrottle    time.Duration
	AllowDuplicateIP bool
	MaxInbound       int
	Unconditional    []string      // IDs that the limit does not count; the transport has a place for each
	RefuseIP         string        // a connection filter refuses it; empty: there is none
	RefuseID         string        // a peer filter refuses it; empty: there is none
	HandshakeTimeout time.Duration // zero: what the release uses
	DialTimeout      time.Duration // zero: what the release uses
	ReportMessages   bool
	LogLevel         Level
}

// Channel is one channel descriptor; zero capacities mean the release's defaults.
type Channel struct {
	ID                  byte
	Priority            int
	SendQueueCapacity   int
	RecvMessageCapacity int
}

// ParseOptions reads the command line; usage and errors go to output.
func ParseOptions(args []string, output io.Writer) (Options, error) {
	var o Options
	var channels, seed, level, unconditional string
	f := flag.NewFlagSet("peer", flag.ContinueOnError)
	f.SetOutput(output)
	f.StringVar(&o.ListenAddress, "laddr", "127.0.0.1:0", "host:port to listen on; port 0 takes a free one")
	f.StringVar(&o.ChainID, "chain-id", "interop", "network announced and required")
	f.StringVar(&o.Moniker, "moniker", "go", "moniker announced")
	f.StringVar(&channels, "channels", "0x70:1:1", "id:priority:sendQueueCapacity[:recvMessageCapacity],…")
	f.StringVar(&seed, "seed", "", "ed25519 seed of the node key, 64 hex digits; empty makes a new key")
	f.DurationVar(&o.PingInterval, "ping-interval", 60*time.Second, "between pings")
	f.DurationVar(&o.PongTimeout, "pong-timeout", 45*time.Second, "must be below the ping interval")
	f.Int64Var(&o.SendRate, "send-rate", 5120000, "bytes per second, 0 is unlimited")
	f.Int64Var(&o.RecvRate, "recv-rate", 5120000, "bytes per second, 0 is unlimited")
	f.IntVar(&o.MaxPacketPayload, "max-packet", 1024, "largest packet payload, both ways")
	f.DurationVar(&o.FlushThrottle, "flush-throttle", 100*time.Millisecond, "wait before a flush; 0 flushes at once")
	f.BoolVar(&o.AllowDuplicateIP, "allow-duplicate-ip", false, "several peers may share an IP")
	f.IntVar(&o.MaxInbound, "max-inbound", 40, "further inbound connections wait unaccepted, as in a real node")
	f.StringVar(&unconditional, "unconditional", "", "IDs, separated by commas, that are admitted whatever the limit")
	f.StringVar(&o.RefuseIP, "refuse-ip", "", "a connection filter refuses this IP")
	f.StringVar(&o.RefuseID, "refuse-id", "", "a peer filter refuses this ID")
	f.DurationVar(&o.HandshakeTimeout, "handshake-timeout", 0, "per phase; 0 is the release's own (3s)")
	f.DurationVar(&o.DialTimeout, "dial-timeout", 0, "0 is the release's own (1s)")
	f.BoolVar(&o.ReportMessages, "messages", true, "report each received message; turn off for floods")
	f.StringVar(&level, "log-level", "error", "debug, info, error or none; lines go to stderr")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	if o.Channels, err = parseChannels(channels); err != nil {
		return o, err
	}
	if o.Seed, err = hex.DecodeString(seed); err != nil || len(o.Seed) != 0 && len(o.Seed) != 32 {
		return o, errors.New("-seed: want 64 hex digits")
	}
	if o.LogLevel, err = parseLevel(level); err != nil {
		return o, err
	}
	if unconditional != "" {
		o.Unconditional = strings.Split(unconditional, ",")
	}
	// The releases panic on this, but only once the first peer connects.
	if o.PongTimeout >= o.PingInterval {
		return o, errors.New("-pong-timeout must be below -ping-interval")
	}
	if o.SendRate == 0 {
		o.SendRate = Unlimited
	}
	if o.RecvRate == 0 {
		o.RecvRate = Unlimited
	}
	return o, nil
}

func parseChannels(text string) ([]Channel, error) {
	var channels []Channel
	for _, item := range strings.Split(text, ",") {
		parts := strings.Split(item, ":")
		if len(parts) < 3 || len(parts) > 4 {
			return nil, fmt.Errorf("-channels: want id:priority:sendQueueCapacity[:recvMessageCapacity], not %q", item)
		}
		id, err := strconv.ParseUint(parts[0], 0, 8)
		if err != nil {
			return nil, fmt.Errorf("-channels: %w", err)
		}
		channel := Channel{ID: byte(id)}
		numbers := []*int{&channel.Priority, &channel.SendQueueCapacity, &channel.RecvMessageCapacity}
		for i, part := range parts[1:] {
			if *numbers[i], err = strconv.Atoi(part); err != nil {
				return nil, fmt.Errorf("-channels: %w", err)
			}
		}
		if channel.Priority < 1 {
			return nil, fmt.Errorf("-channels: priority of %q must be positive", item)
		}
		channels = append(channels, channel)
	}
	return channels, nil
}

// BindFree calls bind with address, port 0 replaced by a free port. The releases' transport keeps the address it was
// given and its node info is fixed before it listens, so the port must be known first; another process may take it in
// between, hence the retries.
func BindFree(address string, bind func(address string) error) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if port != "0" {
		return bind(address)
	}
	for range 20 {
		var probe net.Listener
		if probe, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return err
		}
		free := probe.Addr().String()
		probe.Close()
		if err = bind(free); err == nil {
			return nil
		}
	}
	return err
}
