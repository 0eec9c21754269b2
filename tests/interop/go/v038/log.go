package main

import (
	"github.com/cometbft/cometbft/libs/log"

	"tmp2p.test/interop/harness"
)

// logger passes the switch's lines on.
type logger struct {
	log     *harness.Log
	context []any
}

func (l logger) Debug(message string, keyvals ...any) {
	l.log.Line(harness.Debug, message, l.context, keyvals)
}

func (l logger) Info(message string, keyvals ...any) {
	l.log.Line(harness.Info, message, l.context, keyvals)
}

func (l logger) Error(message string, keyvals ...any) {
	l.log.Line(harness.Error, message, l.context, keyvals)
}

func (l logger) With(keyvals ...any) log.Logger {
	return logger{l.log, append(append([]any{}, l.context...), keyvals...)}
}
