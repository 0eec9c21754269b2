//! A small important message now and then, beside bulk whose receiver takes its time.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tmp2p::{Event, Payload};

use crate::{
    common::{Args, Outcome, Reporter, Summary, resident_kib},
    latency::Latency,
    mixed::{BULK, BULK_SIZE, IMPORTANT, IMPORTANT_SIZE, Node, PAUSE},
    node::{Packet, connect, wait_for_peer},
};

/// The reactor of the bulk does so much for each message.
pub(crate) struct Slow {
    pub(crate) delay_ms: u64,
}

struct Run {
    latency: Latency,
    bulk: f64,
    held_kib: f64,
    grown_kib: f64,
}

/// Of the important messages.
#[derive(Default)]
struct Log {
    sent: HashMap<u64, Instant>,
    /// Milliseconds.
    took: Vec<f64>,
}

impl Slow {
    pub(crate) fn name(&self) -> String {
        format!("slow/delay={}", self.delay_ms)
    }

    pub(crate) fn report(&self, args: &Args, reporter: &mut Reporter) {
        let window = args.pick(Duration::from_secs(3), Duration::from_millis(500));
        let runs = (0..args.runs()).map(|_| self.run(window)).collect::<Outcome<Vec<_>>>();
        let line = runs.map(|runs| {
            let of = |figure: fn(&Run) -> f64| Summary::of(runs.iter().map(figure));
            Latency::line(self.name(), runs.iter().map(|run| run.latency))
                .also("bulk_mb_per_s", of(|run| run.bulk).median)
                .also("held_kib", of(|run| run.held_kib).median)
                .also("rss_grown_kib", of(|run| run.grown_kib).median)
        });
        reporter.outcome(&self.name(), line);
    }

    /// What has not arrived at the end counts with its age.
    fn run(&self, window: Duration) -> Outcome<Run> {
        let config = Packet::Default.config();
        let (near, far) = (Node::start(config.clone())?, Node::start(config)?);
        let peer = connect(&near.switch, &near.bulk, &far.switch)?;
        wait_for_peer(&far.bulk)?;

        let (stop, log) = (AtomicBool::new(false), Mutex::new(Log::default()));
        let (taken, handled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let delay = Duration::from_millis(self.delay_ms);
        let before = resident_kib();
        thread::scope(|scope| {
            scope.spawn(|| {
                for event in far.bulk.events() {
                    match event {
                        Event::Message(_) if stop.load(SeqCst) => return,
                        Event::Message(_) => {
                            thread::sleep(delay);
                            handled.fetch_add(1, SeqCst);
                        }
                        Event::PeerDown(..) => return,
                        _ => {}
                    }
                }
            });
            scope.spawn(|| {
                for event in far.important.events() {
                    match event {
                        Event::Message(envelope) => {
                            let now = Instant::now();
                            let number = envelope.payload().first_chunk().copied();
                            let number = number.map_or(0, u64::from_le_bytes);
                            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                            if let Some(sent) = log.sent.remove(&number) {
                                log.took.push((now - sent).as_secs_f64() * 1e3);
                            }
                        }
                        Event::PeerDown(..) => return,
                        _ => {}
                    }
                }
            });
            let pouring = scope.spawn(|| -> Outcome<()> {
                let payload = Payload::from(vec![0x5a; BULK_SIZE]);
                while !stop.load(SeqCst) {
                    match peer.send(BULK, payload.clone()) {
                        Ok(()) => taken.fetch_add(1, SeqCst),
                        // It waited for a place until the end.
                        Err(_) if stop.load(SeqCst) => break,
                        Err(error) => return Err(error.into()),
                    };
                }
                Ok(())
            });
            let ticking = scope.spawn(|| -> Outcome<()> {
                for number in 0_u64.. {
                    thread::sleep(PAUSE);
                    if stop.load(SeqCst) {
                        break;
                    }
                    let mut message = vec![0; IMPORTANT_SIZE];
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    let sent = Instant::now();
                    log.lock().unwrap_or_else(PoisonError::into_inner).sent.insert(number, sent);
                    match peer.send(IMPORTANT, message) {
                        Err(error) if !stop.load(SeqCst) => return Err(error.into()),
                        _ => {}
                    }
                }
                Ok(())
            });
            let begin = Instant::now();
            thread::sleep(window);
            let elapsed = begin.elapsed().as_secs_f64();
            let grown_kib = resident_kib().zip(before).map_or(0.0, |(now, before)| now - before);
            let (handled, taken) = (handled.load(SeqCst), taken.load(SeqCst));
            let mut times = {
                let log = log.lock().unwrap_or_else(PoisonError::into_inner);
                let ages = log.sent.values().map(|sent| sent.elapsed().as_secs_f64() * 1e3);
                log.took.iter().copied().chain(ages).collect::<Vec<_>>()
            };
            stop.store(true, SeqCst);
            // Ends the session, which ends all threads.
            drop(near);
            for thread in [pouring, ticking] {
                thread.join().map_err(|_| "a sending thread panicked")??;
            }
            if times.is_empty() {
                return Err("nothing was sent".into());
            }
            let bytes = (handled * BULK_SIZE) as f64;
            Ok(Run {
                latency: Latency::of(&mut times),
                bulk: bytes / 1e6 / elapsed,
                held_kib: (taken.saturating_sub(handled) * BULK_SIZE) as f64 / 1024.0,
                grown_kib,
            })
        })
    }
}
