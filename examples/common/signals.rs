//! SIGINT and SIGTERM as something to select on.

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tmp2p::crossbeam_channel::{Receiver, bounded};

use crate::cli::Failure;

/// Gets the name of the first signal that asks the program to end. The second one ends it at once.
pub(crate) fn watch() -> Result<Receiver<&'static str>, Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::failed)?;
    let (sender, receiver) = bounded(1);
    std::thread::spawn(move || {
        for (before, signal) in signals.forever().enumerate() {
            if before > 0 {
                // As shells tell it: ended by this signal.
                std::process::exit(128 + signal);
            }
            // Nobody waits for it any more if the program is about to end anyway.
            let _ = sender.send(if signal == SIGINT { "SIGINT" } else { "SIGTERM" });
        }
    });
    Ok(receiver)
}
