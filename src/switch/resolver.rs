//! Names to addresses, on threads of their own: the system's resolver blocks and cannot be
//! cancelled.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender};

use super::{ResolveRequest, Resolved};
use crate::{guard::guarded, thread};

/// Threads that look names up. More would only wait for the same name server.
const MAX_THREADS: usize = 4;

/// Turns a host name into addresses. Called on one of up to four threads, `p2p-resolver`, where it
/// may block; a panic is a failure like others. An attempt to connect waits 15 s for its name; an
/// answer that comes later serves the next attempt. While all four threads wait for an answer, other
/// names are not resolved.
pub trait Resolver: Send + Sync {
    /// Every address of the name.
    ///
    /// # Errors
    /// The name has none, or nobody could be asked.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<R: Resolver + ?Sized> Resolver for Arc<R> {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve(host, port)
    }
}

/// The resolver of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// At most four threads, started when there is something to look up. They are never joined, since
/// one may sit in the system's resolver; they end by themselves once the pool is gone.
pub(crate) struct ResolverPool {
    resolver: Arc<dyn Resolver>,
    requests: (Sender<ResolveRequest>, Receiver<ResolveRequest>),
    /// Requests that wait or are being worked on.
    load: Arc<AtomicUsize>,
    /// Threads that are inside of the resolver.
    busy: Busy,
    threads: usize,
    /// Whoever asks does the work.
    #[cfg(feature = "testing")]
    is_inline: bool,
}

/// How many threads are inside of the resolver, for whoever wants to know what a stop leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Busy {
    /// Whether there is one now.
    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl ResolverPool {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        let requests = crossbeam_channel::unbounded();
        let (load, busy) = (Arc::default(), Busy::default());
        Self {
            resolver,
            requests,
            load,
            busy,
            threads: 0,
            #[cfg(feature = "testing")]
            is_inline: false,
        }
    }

    /// Starts no threads: whoever asks looks it up.
    #[cfg(feature = "testing")]
    pub(crate) fn inline(self) -> Self {
        Self { is_inline: true, ..self }
    }

    pub(crate) fn busy(&self) -> Busy {
        self.busy.clone()
    }

    /// Looks the name up on some thread; `answer` is called there, once.
    pub(crate) fn submit(
        &mut self,
        request: ResolveRequest,
        answer: impl Fn(Resolved) + Send + 'static,
    ) -> io::Result<()> {
        #[cfg(feature = "testing")]
        if self.is_inline {
            let result = resolve(&*self.resolver, &request);
            answer(Resolved { ticket: request.ticket, result });
            return Ok(());
        }
        let waiting = self.load.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.threads && self.threads < MAX_THREADS {
            let (resolver, load, busy) =
                (self.resolver.clone(), self.load.clone(), self.busy.clone());
            let requests = self.requests.1.clone();
            let started = thread::spawn("p2p-resolver", move || {
                for request in requests {
                    busy.0.fetch_add(1, Ordering::Relaxed);
                    let result = resolve(&*resolver, &request);
                    busy.0.fetch_sub(1, Ordering::Relaxed);
                    load.fetch_sub(1, Ordering::Relaxed);
                    answer(Resolved { ticket: request.ticket, result });
                }
                // The application's, and it may be the last one.
                _ = guarded(|| drop(resolver));
            });
            match started {
                Ok(_) => self.threads += 1,
                // Those that there are will come to it.
                Err(_) if self.threads > 0 => {}
                Err(error) => {
                    self.load.fetch_sub(1, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        // The receiver is held by the pool itself.
        let _ = self.requests.0.send(request);
        Ok(())
    }
}

fn resolve(resolver: &dyn Resolver, request: &ResolveRequest) -> Result<Vec<SocketAddr>, String> {
    let found = guarded(|| {
        resolver.resolve(&request.host, request.port).map_err(|error| error.to_string())
    });
    found.unwrap_or_else(|| Err("the resolver panicked".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_addresses_by_themselves_and_nobody_without_a_name() {
        let found = SystemResolver.resolve("127.0.0.1", 5).unwrap();
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 5))]);
        assert!(SystemResolver.resolve("", 5).is_err());
    }
}
