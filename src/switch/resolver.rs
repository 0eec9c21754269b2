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
use crate::thread;

/// Threads that look names up. More would only wait for the same name server.
const MAX_THREADS: usize = 4;

/// Turns a host name into addresses. Called on a resolver thread, may block.
pub trait Resolver: Send + Sync {
    /// Every address of the name.
    ///
    /// # Errors
    /// The name has none, or nobody could be asked.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
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
    busy: Arc<AtomicUsize>,
    threads: usize,
}

impl ResolverPool {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        let requests = crossbeam_channel::unbounded();
        Self { resolver, requests, busy: Arc::default(), threads: 0 }
    }

    /// Looks the name up on some thread; `answer` is called there.
    pub(crate) fn submit(
        &mut self,
        request: ResolveRequest,
        answer: impl Fn(Resolved) + Send + 'static,
    ) -> io::Result<()> {
        let waiting = self.busy.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.threads && self.threads < MAX_THREADS {
            let (resolver, busy) = (self.resolver.clone(), self.busy.clone());
            let requests = self.requests.1.clone();
            thread::spawn("p2p-resolver", move || {
                for request in requests {
                    let found = resolver.resolve(&request.host, request.port);
                    busy.fetch_sub(1, Ordering::Relaxed);
                    let result = found.map_err(|error| error.to_string());
                    answer(Resolved { ticket: request.ticket, result });
                }
            })?;
            self.threads += 1;
        }
        // The receiver is held by the pool itself.
        let _ = self.requests.0.send(request);
        Ok(())
    }
}
