package harness

import (
	"hash"
	"sync"
	"time"
)

// lane is one channel of one session.
type lane struct {
	mu         sync.Mutex
	count      uint64
	bytes      uint64
	digest     hash.Hash
	waiters    []waiter
	echo       chan []byte
	echoed     uint64
	echoFailed uint64

	jobs    []func()
	working bool
}

type waiter struct {
	count   uint64
	reached chan struct{}
}

// enqueue runs the jobs of a lane one after the other, off the caller's goroutine.
func (l *lane) enqueue(job func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, job)
	if l.working {
		return
	}
	l.working = true
	go func() {
		for {
			l.mu.Lock()
			if len(l.jobs) == 0 {
				l.working = false
				l.mu.Unlock()
				return
			}
			job := l.jobs[0]
			l.jobs = l.jobs[1:]
			l.mu.Unlock()
			job()
		}
	}()
}

// echoBacklog is how many messages wait to be sent back before Receive blocks, as a reactor with a bounded queue does.
const echoBacklog = 1024

// echo is called by the reading goroutine only, so the order is kept.
func (s *Session) echo(channel byte, l *lane, payload []byte) {
	if l.echo == nil {
		l.echo = make(chan []byte, echoBacklog)
		go func() {
			for {
				select {
				case payload := <-l.echo:
					sent := s.peer.Send(channel, payload)
					l.mu.Lock()
					if sent {
						l.echoed++
					} else {
						l.echoFailed++
					}
					l.mu.Unlock()
				case <-s.ended:
					return
				}
			}
		}()
	}
	select {
	case l.echo <- payload:
	case <-s.ended:
	}
}

// await returns true once the channel got that many messages, false if the session ended or time ran out before.
func (s *Session) await(l *lane, count uint64, timeout time.Duration) bool {
	l.mu.Lock()
	if l.count >= count {
		l.mu.Unlock()
		return true
	}
	reached := make(chan struct{})
	l.waiters = append(l.waiters, waiter{count, reached})
	l.mu.Unlock()
	select {
	case <-reached:
	case <-s.ended:
	case <-time.After(timeout):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count >= count
}
