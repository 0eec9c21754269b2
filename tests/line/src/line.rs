//! Two namespaces, a device in each, and a thread for each direction that forwards what is due.

use std::{
    io::{self, PipeReader, PipeWriter},
    net::Ipv4Addr,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    lane::{Lane, Shape},
    namespace::{Namespace, ip},
    tun::Tun,
};

/// More than any packet has.
const BUFFER: usize = 65_536;

/// Packets that the kernel holds for us: more than come while we are not looking, so that only the
/// lane's queue drops any.
const KERNEL_QUEUE: &str = "10000";

/// Where a line ends.
#[derive(Debug)]
pub struct End {
    namespace: Namespace,
    addr: Ipv4Addr,
}

impl End {
    /// The name of the namespace, as `ip netns` knows it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// The address of this end, to listen at and to be dialed.
    #[must_use]
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }
}

/// A running line. When it is dropped its namespaces are gone.
#[derive(Debug)]
pub struct Line {
    // Before the namespaces: a device whose namespace is gone cannot be read.
    lanes: Lanes,
    ends: [End; 2],
}

/// The threads.
#[derive(Debug)]
struct Lanes {
    threads: Vec<JoinHandle<()>>,
    /// Its end is theirs.
    over: Option<PipeWriter>,
}

impl Line {
    /// Makes two namespaces with the process's ID in their names, and joins them.
    ///
    /// # Errors
    /// What the system says against it, see [`missing`].
    pub fn open(shape: Shape, seed: u64) -> io::Result<Self> {
        static LINES: AtomicU32 = AtomicU32::new(0);
        let name = format!("tmp2p-line-{}-{}", process::id(), LINES.fetch_add(1, Relaxed));
        let end = |side: &str, host| -> io::Result<_> {
            let namespace = Namespace::add(format!("{name}-{side}"))?;
            let addr = Ipv4Addr::new(10, 81, 0, host);
            let tun = device(namespace.name(), addr)?;
            Ok((End { namespace, addr }, Arc::new(tun)))
        };
        let ((a, tun_a), (b, tun_b)) = (end("a", 1)?, end("b", 2)?);
        let (reader, writer) = io::pipe()?;
        let mut lanes = Lanes { threads: Vec::new(), over: Some(writer) };
        for (number, [from, to]) in [[&tun_a, &tun_b], [&tun_b, &tun_a]].into_iter().enumerate() {
            let (from, to, over) = (Arc::clone(from), Arc::clone(to), reader.try_clone()?);
            let dice = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            lanes.threads.push(thread::spawn(move || {
                forward(&from, &to, Lane::new(shape), dice, &over)
                    .expect("a device that is up can be read");
            }));
        }
        Ok(Self { lanes, ends: [a, b] })
    }

    /// Both ends.
    #[must_use]
    pub fn ends(&self) -> [&End; 2] {
        self.ends.each_ref()
    }

    /// Ends it.
    ///
    /// # Panics
    /// If it has failed.
    pub fn close(mut self) {
        self.lanes.over = None;
        for thread in self.lanes.threads.drain(..) {
            thread.join().expect("a line that was opened carries until it is closed");
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.over = None;
        for thread in self.threads.drain(..) {
            // It has printed why it panicked.
            let _ = thread.join();
        }
    }
}

/// What this machine lacks for a line, if anything.
#[must_use]
pub fn missing() -> Option<String> {
    if let Err(error) = ip(&["-V"]) {
        return Some(format!("needs ip (iproute2): {error}"));
    }
    let namespace = Namespace::add(format!("tmp2p-line-{}-try", process::id()));
    let made =
        namespace.and_then(|namespace| device(namespace.name(), Ipv4Addr::new(10, 81, 0, 1)));
    made.err().map(|error| {
        format!("needs /dev/net/tun and the right to make network namespaces (root): {error}")
    })
}

/// A device in that namespace that is up.
fn device(namespace: &str, addr: Ipv4Addr) -> io::Result<Tun> {
    let tun = Tun::open()?;
    let (name, addr) = (tun.name(), format!("{addr}/30"));
    // It stays ours: who has opened it reads and writes it, wherever it goes.
    ip(&["link", "set", name, "netns", namespace])?;
    ip(&["-n", namespace, "addr", "add", &addr, "dev", name])?;
    ip(&["-n", namespace, "link", "set", name, "txqueuelen", KERNEL_QUEUE, "up"])?;
    Ok(tun)
}

/// One direction, until the other end of `over` is closed.
fn forward(
    from: &Tun,
    to: &Tun,
    mut lane: Lane,
    mut dice: StdRng,
    over: &PipeReader,
) -> io::Result<()> {
    let start = Instant::now();
    let mut buffer = vec![0; BUFFER];
    loop {
        while let Some(packet) = lane.arrived(start.elapsed()) {
            // The kernel has no place for it: lost, as anywhere else.
            let _ = to.write(&packet);
        }
        let wait = lane.next_due().map(|due| timespec(due.saturating_sub(start.elapsed())));
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
        match poll(&mut ready, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [is_packet, is_over] = ready.map(|ready| !ready.revents().is_empty());
        if is_over {
            return Ok(());
        }
        // One, and then what is due again: nothing waits for a crowd.
        if is_packet {
            let size = from.read(&mut buffer)?;
            lane.take(start.elapsed(), buffer[..size].to_vec(), &mut dice);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}
