//! How fast a round is and how long it still takes, in no more than 28 characters: with the bar they
//! fit in 60 columns, which every terminal has.

use std::time::Duration;

/// What is known of a round while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// How much of it is done, from 0 to 1.
    pub(crate) share: f64,
    /// Since its beginning.
    pub(crate) elapsed: Duration,
    /// Bytes that have arrived.
    pub(crate) bytes: f64,
}

impl Progress {
    /// The rate, and the time left once there is something to go by.
    pub(crate) fn text(self) -> String {
        let elapsed = self.elapsed.as_secs_f64();
        let mut text = rate(self.bytes, self.elapsed);
        if self.share > 0.0 {
            text += &format!(", {} left", time(elapsed * (1.0 - self.share).max(0.0) / self.share));
        }
        text
    }
}

/// So many bytes in this time, each second.
pub(crate) fn rate(bytes: f64, time: Duration) -> String {
    let rate = bytes / time.as_secs_f64().max(1e-9);
    match rate {
        1e9.. => format!("{:.2} GB/s", rate / 1e9),
        _ => format!("{:.2} MB/s", rate / 1e6),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        360_000.0.. => "days".to_owned(),
        3600.0.. => format!("{:.2} h", seconds / 3600.0),
        600.0.. => format!("{:.2} min", seconds / 60.0),
        _ => format!("{seconds:.2} s"),
    }
}

/// Whether a connection that took so many bytes was held up by its limit, bytes a second, and not by
/// the machine: what is sent has heads and pauses, so that no more than this arrives.
pub(crate) fn is_at_limit(bytes: f64, time: Duration, limit: u64) -> bool {
    limit > 0 && bytes / time.as_secs_f64().max(1e-9) > 0.9 * limit as f64
}
