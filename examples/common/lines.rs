//! Lines on their way to standard output or standard error. Nobody may read there: who has something
//! to say never waits for who listens.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::counted;

/// Log that may wait to be read, bytes: some thousand lines, more than anybody looks back at.
const MAX_LOG: usize = 1 << 20;

/// The same of events, of which a reader wants each: some hundred thousand, which a reader that was
/// stopped for a minute finds when it goes on.
const MAX_EVENTS: usize = 64 << 20;

/// A buffer that has grown larger is given back.
const KEPT: usize = 64 << 10;

/// Pause before the next try to write to what somebody has made non-blocking, as a terminal that is
/// shared with another program may be.
const RETRY: Duration = Duration::from_millis(20);

/// Writes a stream on a thread of its own. What finds too much waiting is dropped and counted, and
/// a line in its place tells how many were.
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// The stream, until its thread has it; still here if that could not be started.
    stream: Mutex<Option<Box<dyn Write + Send>>>,
}

struct Queue {
    /// Whole lines.
    text: Vec<u8>,
    counted: Counted,
    /// Bytes that may wait.
    most: usize,
    /// Lines that were dropped and that no line in `text` tells of.
    lost: u64,
    /// The line that tells how many were lost.
    notice: Notice,
    is_writing: bool,
    /// Why the first line was lost that could not be written.
    failure: Option<String>,
}

/// The line that tells how many were lost.
pub(crate) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// What a text has in it.
#[derive(Clone, Copy, Default)]
struct Counted {
    lines: u64,
    /// Lines that were lost and that the text tells of.
    told: u64,
}

/// Standard output.
pub(crate) fn stdout() -> &'static Lines {
    STDOUT.get_or_init(|| Lines::new(io::stdout(), MAX_EVENTS))
}

/// Standard error.
pub(crate) fn stderr() -> &'static Lines {
    STDERR.get_or_init(|| Lines::new(io::stderr(), MAX_LOG))
}

static STDOUT: OnceLock<Lines> = OnceLock::new();
static STDERR: OnceLock<Lines> = OnceLock::new();

/// Before the program ends: waits until everything is written, but no longer than this. What nobody
/// reads is lost.
pub(crate) fn finish_stdout(timeout: Duration) {
    let _ = STDOUT.get().map(|lines| lines.finish(timeout));
}

/// The same for standard error.
pub(crate) fn finish_stderr(timeout: Duration) {
    let _ = STDERR.get().map(|lines| lines.finish(timeout));
}

/// Why standard output takes no lines, or did not take some.
pub(crate) fn stdout_failure() -> Option<String> {
    STDOUT.get().and_then(Lines::failure)
}

impl Lines {
    /// Writes there; at most so many bytes wait.
    pub(crate) fn new(stream: impl Write + Send + 'static, most: usize) -> Self {
        let queue = Queue {
            text: Vec::new(),
            counted: Counted::default(),
            most,
            lost: 0,
            notice: Box::new(|lost| {
                format!("{} lost: nobody has read in time", counted(lost, "line"))
            }),
            is_writing: false,
            failure: None,
        };
        let stream: Box<dyn Write + Send> = Box::new(stream);
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            stream: Mutex::new(Some(stream)),
        });
        let writer = shared.clone();
        let started = thread::Builder::new().name("lines".to_owned()).spawn(move || {
            if let Some(mut stream) = writer.take_stream() {
                writer.write_for_ever(&mut *stream);
            }
        });
        // Without the thread they wait for `finish`.
        drop(started);
        Self(shared)
    }

    /// What the line says that tells how many were lost; without a line end.
    pub(crate) fn set_notice(&self, notice: impl Fn(u64) -> String + Send + 'static) {
        self.0.lock().notice = Box::new(notice);
    }

    /// One more line, without its end. Does not wait.
    pub(crate) fn push(&self, line: &str) {
        self.0.lock().push(line);
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, but no longer than this; whether it is.
    pub(crate) fn finish(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut queue = self.0.lock();
        queue.tell_lost();
        self.0.changed.notify_all();
        while queue.is_writing || !queue.text.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(queue);
                return self.finish_here();
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Why a line was lost that could not be written, if one was.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.lock().failure.clone()
    }

    /// The thread could not be started: nobody else writes. False if it was.
    fn finish_here(&self) -> bool {
        let Some(mut stream) = self.0.take_stream() else { return false };
        let text = mem::take(&mut self.0.lock().text);
        let written = write_all(&mut *stream, &text);
        let is_written = written.is_ok();
        self.0.lock().failure = written.err().map(|error| error.to_string());
        is_written
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_stream(&self) -> Option<Box<dyn Write + Send>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn write_for_ever(&self, stream: &mut dyn Write) {
        let mut text = Vec::new();
        let mut queue = self.lock();
        loop {
            while queue.text.is_empty() {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            mem::swap(&mut text, &mut queue.text);
            let counted = mem::take(&mut queue.counted);
            queue.is_writing = true;
            drop(queue);
            let written = write_all(stream, &text);
            text.clear();
            if text.capacity() > KEPT {
                text = Vec::new();
            }
            queue = self.lock();
            queue.is_writing = false;
            if let Err(error) = written {
                // A full disk has room again, a pipe without a reader never: what comes is tried.
                queue.lost += counted.lines + counted.told;
                queue.failure.get_or_insert_with(|| error.to_string());
            }
            self.changed.notify_all();
        }
    }
}

impl Queue {
    fn push(&mut self, line: &str) {
        // Whoever reads too slowly gets some in a row, and then a gap: not every other line.
        let most = if self.lost > 0 { self.most / 2 } else { self.most };
        if self.text.len() + line.len() > most {
            self.lost += 1;
            return;
        }
        self.tell_lost();
        self.counted.lines += 1;
        self.put(line);
    }

    fn tell_lost(&mut self) {
        let lost = mem::take(&mut self.lost);
        if lost > 0 {
            self.counted.told += lost;
            let notice = (self.notice)(lost);
            self.put(&notice);
        }
    }

    fn put(&mut self, line: &str) {
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
    }
}

/// Writes all of it, however long that takes.
fn write_all(stream: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}
