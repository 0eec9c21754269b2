//! Watches a running node, for events, for the log and for whoever asks it to end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tmp2p::{
    Config, Direction, Event, NodeId, PeerAddress, SwitchEvent, SwitchHandle,
    crossbeam_channel::{Receiver, select, tick},
};

use crate::{
    book,
    cli::{self, Failure},
    console::Console,
    news::{self, Facts, News},
    opening,
};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// The book is looked at again after so many times the time that it took: all of it is copied for that,
/// and the thread of peer exchange has other things to do.
const BOOK_PAUSE: u32 = 50;

/// How often all peers are put into the log, for who looks closely.
const TABLE_PERIOD: Duration = Duration::from_secs(30);

/// What is watched.
pub(crate) struct Watch<'a> {
    handle: &'a SwitchHandle,
    console: &'a Console,
    signals: &'a Receiver<&'static str>,
    happenings: &'a Receiver<SwitchEvent>,
    news: News,
    /// Whom the node asks for addresses.
    seeds: BTreeSet<NodeId>,
    started: Instant,
}

impl<'a> Watch<'a> {
    /// Says that the node runs. `what` it is and where else it can be found; `patience`: how long it
    /// may be without a peer before somebody should know.
    pub(crate) fn start(
        what: &str,
        config: &Config,
        patience: Duration,
        handle: &'a SwitchHandle,
        console: &'a Console,
        signals: &'a Receiver<&'static str>,
        happenings: &'a Receiver<SwitchEvent>,
    ) -> Self {
        let info = handle.node_info();
        log::info!(
            "version {} runs as {what}; chain {:?}, node {}, known to peers as {}",
            env!("CARGO_PKG_VERSION"),
            info.network(),
            opening::address(handle),
            info.listen_addr(),
        );
        if let Some(why) = news::undialable(info.listen_addr()) {
            log::warn!("{why}");
        }
        let ids = |addrs: &[PeerAddress]| -> BTreeSet<NodeId> {
            addrs.iter().map(PeerAddress::id).collect()
        };
        let (seeds, persistent) = (ids(&config.seeds), ids(&config.persistent_peers));
        let has_names = !seeds.is_empty() || !persistent.is_empty();
        // Who is both is to be a peer.
        let seeds = &seeds - &persistent;
        let news = News::new(has_names, seeds.clone(), patience, Duration::ZERO);
        Self { handle, console, signals, happenings, news, seeds, started: Instant::now() }
    }

    /// Tells what happens until the node is to end; why. Events of a reactor are told, too.
    pub(crate) fn run(
        &mut self,
        events: &Receiver<Event>,
        height: impl Fn() -> Option<i64>,
        table: impl Fn() -> Vec<String>,
    ) -> (&'static str, Result<(), Failure>) {
        let (ticks, mut known) = (tick(PERIOD), None);
        let mut shown = Instant::now();
        let mut book_at = shown;
        let (signals, happenings) = (self.signals, self.happenings);
        loop {
            select! {
                recv(signals) -> signal => {
                    let signal = signal.unwrap_or("signal");
                    let ran = news::shown(self.started.elapsed());
                    log::info!("stops on {signal}; it ran for {ran}");
                    return (signal, Ok(()));
                }
                recv(events) -> event => if let Ok(event) = event {
                    self.console.reactor_event(&event);
                },
                recv(happenings) -> event => match event {
                    // Nobody here stops it.
                    Ok(SwitchEvent::Stopped(reason)) => {
                        let why = format!("the switch has stopped: {reason}");
                        return ("failure", Err(Failure::Failed(why)));
                    }
                    Ok(event) => self.hear(&event),
                    Err(_) => return ("failure", Err(Failure::Failed("no switch".to_owned()))),
                },
                recv(ticks) -> _ => {
                    if let Err(why) = cli::check_stdout() {
                        return ("failure", Err(why));
                    }
                    let begun = Instant::now();
                    let counts = if begun < book_at { known } else { book::counts(self.handle) };
                    book_at = book_at.max(begun + begun.elapsed() * BOOK_PAUSE);
                    if counts.is_some() && counts != known {
                        known = counts;
                        self.console.event("book", counts.unwrap_or_default().to_json());
                    }
                    // Until it is known the book is not empty.
                    if let Some(book) = known {
                        self.look(book, height());
                    }
                    if shown.elapsed() >= TABLE_PERIOD && log::log_enabled!(log::Level::Debug) {
                        shown = Instant::now();
                        table().iter().for_each(|line| log::debug!("{line}"));
                    }
                }
            }
        }
    }

    /// What happened while the node stopped, and that it has.
    pub(crate) fn end(&mut self, reason: &str, sessions: usize) {
        self.happenings.try_iter().for_each(|event| self.console.switch_event(&event));
        self.console.event("stopped", serde_json::json!({ "reason": reason }));
        log::info!("stopped; {} ended", cli::counted(sessions, "session"));
    }

    fn hear(&mut self, event: &SwitchEvent) {
        self.console.switch_event(event);
        if let Some((level, line)) = self.news.hear(event, self.started.elapsed()) {
            log::log!(level, "{line}");
        }
    }

    fn look(&mut self, book: book::Counts, height: Option<i64>) {
        let dialing = self.handle.num_peers().dialing;
        // All of it at one moment: sessions with seeds are short.
        let peers = self.handle.peers();
        let outbound = peers.iter().filter(|peer| peer.direction() == Direction::Outbound).count();
        let facts = Facts {
            outbound,
            inbound: peers.len() - outbound,
            seeds: peers.iter().filter(|peer| self.seeds.contains(&peer.id())).count(),
            dialing,
            addresses: book.addresses,
            bad: book.bad,
            height,
        };
        for (level, line) in self.news.look(&facts, self.started.elapsed()) {
            log::log!(level, "{line}");
        }
    }
}
