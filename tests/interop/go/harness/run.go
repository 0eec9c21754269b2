package harness

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// Main runs the peer program of a release on the process's own streams and exits.
//
// As `peer judge` it runs no node: see judgeAll.
func Main(release Release) {
	if len(os.Args) == 2 && os.Args[1] == "judge" {
		if err := judgeAll(release, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(Run(release, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// stopTimeout bounds how long a stopping switch may take; a peer program must not outlive its test.
const stopTimeout = 10 * time.Second

// Run runs the peer program until `stop` or the end of input, and returns its exit code.
func Run(release Release, args []string, input io.Reader, output, logs io.Writer) int {
	options, err := ParseOptions(args, logs)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(logs, err)
		return 2
	}
	out := newEvents(output)
	defer out.close()
	log := &Log{level: options.LogLevel, output: logs, events: out}
	sessions := newSessions(options, out)
	node, err := release.New(options, log, sessions)
	if err != nil {
		fmt.Fprintln(logs, err)
		return 1
	}
	out.emit(listeningEvent{"listening", node.ID(), node.ListenAddress(), release.Version})

	last := (&commands{node: node, sessions: sessions, events: out}).serve(input)
	stopped := make(chan error, 1)
	go func() {
		err := node.Stop()
		sessions.settle()
		stopped <- err
	}()
	select {
	case err = <-stopped:
	case <-time.After(stopTimeout):
		err = errors.New("the switch did not stop in time")
	}
	if err != nil {
		out.emit(errorEvent{"error", last, "stop", err.Error()})
		return 1
	}
	out.emit(doneEvent{"done", last, "stop"})
	return 0
}
