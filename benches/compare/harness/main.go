package harness

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const usage = `usage: compare listen | dial | hold | drain | broadcast | rtt | mixed | book [flags]
-h after the subcommand shows its flags
`

// Main runs the program of a release on the process's own streams and exits.
func Main(release Release) {
	os.Exit(Run(release, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run runs one subcommand and returns its exit code.
func Run(release Release, args []string, input *os.File, output, errs io.Writer) int {
	subcommands := map[string]func(Release, []string, *os.File, io.Writer, io.Writer) error{
		"listen": listen, "dial": dial, "hold": hold, "drain": drain, "broadcast": broadcast, "rtt": rtt,
		"mixed": mixed, "book": book,
	}
	if len(args) == 0 || subcommands[args[0]] == nil {
		fmt.Fprint(errs, usage)
		return 2
	}
	err := subcommands[args[0]](release, args[1:], input, output, errs)
	var reason cannot
	if errors.As(err, &reason) {
		err = report(output, refused{args[0], release.Version, string(reason)})
	}
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

// cannot is why a release has no such figure: a result, not a failure.
type cannot string

func (c cannot) Error() string { return string(c) }

type refused struct {
	Program string `json:"program"`
	Version string `json:"version"`
	Cannot  string `json:"cannot"`
}

// unless refuses what the release lacks, if it is asked for.
func unless(asked bool, lack string) error {
	if asked && lack != "" {
		return cannot(lack)
	}
	return nil
}

// common are the flags of both sides of a handshake.
type common struct {
	network string
	channel uint
}

func (c *common) register(f *flag.FlagSet) {
	f.StringVar(&c.network, "network", "compare", "network announced and required")
	f.UintVar(&c.channel, "channel", bulkChannel, "the only channel announced")
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
