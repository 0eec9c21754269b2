package harness

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
)

const usage = `usage: compare listen | dial | drain | book [flags]; -h after the subcommand shows its flags
`

// Main runs the program of a release on the process's own streams and exits.
func Main(release Release) {
	os.Exit(Run(release, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run runs one subcommand and returns its exit code.
func Run(release Release, args []string, input *os.File, output, errs io.Writer) int {
	subcommands := map[string]func(Release, []string, *os.File, io.Writer, io.Writer) error{
		"listen": listen, "dial": dial, "drain": drain, "book": book,
	}
	if len(args) == 0 || subcommands[args[0]] == nil {
		fmt.Fprint(errs, usage)
		return 2
	}
	err := subcommands[args[0]](release, args[1:], input, output, errs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// common are the flags of both sides of a handshake.
type common struct {
	network string
	channel uint
}

func (c *common) register(f *flag.FlagSet) {
	f.StringVar(&c.network, "network", "compare", "network announced and required")
	f.UintVar(&c.channel, "channel", 0x30, "the only channel announced")
}

func parse(f *flag.FlagSet, args []string, errs io.Writer) error {
	f.SetOutput(errs)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return nil
}

func report(output io.Writer, result any) error {
	return json.NewEncoder(output).Encode(result)
}

// start makes a switch; port 0 is replaced by a free port before, since a switch announces the address it is given.
// Another process may take the port in between, hence the retries.
func start(release Release, options SwitchOptions, sink Sink) (Switch, string, error) {
	host, port, err := net.SplitHostPort(options.Address)
	if err != nil {
		return nil, "", err
	}
	for attempt := 0; ; attempt++ {
		if port == "0" {
			probe, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				return nil, "", err
			}
			options.Address = probe.Addr().String()
			probe.Close()
		}
		sw, err := release.NewSwitch(options, sink)
		if err == nil {
			return sw, sw.ID() + "@" + options.Address, nil
		}
		if port != "0" || attempt == 20 {
			return nil, "", err
		}
	}
}
