//! Namespaces with a device in each, and a thread for each that forwards to the others what is due.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    net::Ipv4Addr,
    os::fd::AsFd,
    path::Path,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
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

/// A namespace and its address.
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

    /// Does something on a thread in this namespace. Sockets stay where they were made, and the threads
    /// that it starts are in the namespace, too.
    ///
    /// # Errors
    /// The thread cannot go there: that needs root.
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let place = File::open(Path::new("/run/netns").join(self.namespace()))?;
        let work = || -> io::Result<T> {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        let done = thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Ends with a line from each to each other. When it is dropped its namespaces are gone.
#[derive(Debug)]
pub struct Net {
    // Before the namespaces: a device whose namespace is gone cannot be read.
    lanes: Lanes,
    ends: Vec<End>,
    lines: Arc<Lines>,
}

/// How each line is now, by the ends from and to which it goes; `None`: it is cut.
#[derive(Debug)]
struct Lines {
    shapes: Mutex<Vec<Vec<Option<Shape>>>>,
}

impl Lines {
    fn shape(&self, from: usize, to: usize) -> Option<Shape> {
        let shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        *shapes.get(from)?.get(to)?
    }
}

/// The threads.
#[derive(Debug)]
struct Lanes {
    threads: Vec<JoinHandle<()>>,
    /// Its end is theirs.
    over: Option<PipeWriter>,
}

impl Net {
    /// Makes namespaces, fewer than 255, with the process's ID in their names, and joins each with each
    /// other by a line of this shape.
    ///
    /// # Errors
    /// What the system says against it, see [`missing`].
    pub fn open(ends: usize, shape: Shape, seed: u64) -> io::Result<Self> {
        static NETS: AtomicU32 = AtomicU32::new(0);
        let name = format!("tmp2p-line-{}-{}", process::id(), NETS.fetch_add(1, Relaxed));
        let end = |number: usize| -> io::Result<_> {
            let namespace = Namespace::add(format!("{name}-{number}"))?;
            let addr = addr(number)?;
            let tun = device(namespace.name(), addr)?;
            Ok((End { namespace, addr }, tun))
        };
        let ends: io::Result<Vec<_>> = (0..ends).map(end).collect();
        let (ends, tuns): (Vec<_>, Vec<_>) = ends?.into_iter().unzip();
        let (tuns, count) = (Arc::new(tuns), ends.len());
        let lines = Arc::new(Lines { shapes: Mutex::new(vec![vec![Some(shape); count]; count]) });
        let (reader, writer) = io::pipe()?;
        let mut lanes = Lanes { threads: Vec::new(), over: Some(writer) };
        for from in 0..count {
            let (tuns, lines, over) = (Arc::clone(&tuns), Arc::clone(&lines), reader.try_clone()?);
            let dice = StdRng::seed_from_u64(seed.wrapping_add(from as u64));
            let lanes_from = vec![Lane::new(shape); count];
            lanes.threads.push(thread::spawn(move || {
                forward(from, &tuns, &lines, lanes_from, dice, &over)
                    .expect("a device that is up can be read");
            }));
        }
        Ok(Self { lanes, ends, lines })
    }

    /// All ends.
    #[must_use]
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// From now on the lines are as `shape` says for each, by the numbers of the ends from and to which it
    /// goes; `None`: what is sent is lost. What is under way arrives.
    pub fn set_lines(&self, shape: impl Fn(usize, usize) -> Option<Shape>) {
        let mut shapes = self.lines.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, shapes) in shapes.iter_mut().enumerate() {
            for (to, line) in shapes.iter_mut().enumerate() {
                *line = shape(from, to);
            }
        }
    }

    /// Ends it.
    ///
    /// # Panics
    /// If it has failed.
    pub fn close(mut self) {
        self.lanes.over = None;
        for thread in self.lanes.threads.drain(..) {
            thread.join().expect("a net that was opened carries until it is closed");
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

/// What this machine lacks for a net, if anything.
#[must_use]
pub fn missing() -> Option<String> {
    if let Err(error) = ip(&["-V"]) {
        return Some(format!("needs ip (iproute2): {error}"));
    }
    let namespace = Namespace::add(format!("tmp2p-line-{}-try", process::id()));
    let made = namespace.and_then(|namespace| device(namespace.name(), addr(0)?));
    made.err().map(|error| {
        format!("needs /dev/net/tun and the right to make network namespaces (root): {error}")
    })
}

/// A device in that namespace that is up.
fn device(namespace: &str, addr: Ipv4Addr) -> io::Result<Tun> {
    let tun = Tun::open()?;
    let (name, addr) = (tun.name(), format!("{addr}/24"));
    // It stays ours: who has opened it reads and writes it, wherever it goes.
    ip(&["link", "set", name, "netns", namespace])?;
    ip(&["-n", namespace, "addr", "add", &addr, "dev", name])?;
    ip(&["-n", namespace, "link", "set", name, "txqueuelen", KERNEL_QUEUE, "up"])?;
    Ok(tun)
}

/// The address of the end with this number.
fn addr(number: usize) -> io::Result<Ipv4Addr> {
    let host = u8::try_from(number + 1).ok().filter(|host| *host < 255);
    let host = host.ok_or_else(|| io::Error::other("a net has fewer than 255 ends"))?;
    Ok(Ipv4Addr::new(10, 81, 0, host))
}

/// The end that a packet goes to.
fn destination(packet: &[u8]) -> Option<usize> {
    let is_ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let [10, 81, 0, host] = packet.get(16..20).filter(|_| is_ipv4)? else { return None };
    usize::from(*host).checked_sub(1)
}

/// Everything that one end sends, until the other end of `over` is closed.
fn forward(
    from: usize,
    tuns: &[Tun],
    lines: &Lines,
    mut lanes: Vec<Lane>,
    mut dice: StdRng,
    over: &PipeReader,
) -> io::Result<()> {
    let start = Instant::now();
    let mut buffer = vec![0; BUFFER];
    loop {
        for (lane, to) in lanes.iter_mut().zip(tuns) {
            while let Some(packet) = lane.arrived(start.elapsed()) {
                // The kernel has no place for it: lost, as anywhere else.
                let _ = to.write(&packet);
            }
        }
        let next = lanes.iter().filter_map(Lane::next_due).min();
        let wait = next.map(|due| timespec(due.saturating_sub(start.elapsed())));
        let mut ready = [PollFd::new(&tuns[from], PollFlags::IN), PollFd::new(over, PollFlags::IN)];
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
            let size = tuns[from].read(&mut buffer)?;
            let packet = &buffer[..size];
            // What the kernel says of itself on a device that is new goes to nobody.
            let Some(to) = destination(packet) else { continue };
            let (Some(lane), Some(shape)) = (lanes.get_mut(to), lines.shape(from, to)) else {
                continue;
            };
            lane.set_shape(shape);
            lane.take(start.elapsed(), packet.to_vec(), &mut dice);
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}
