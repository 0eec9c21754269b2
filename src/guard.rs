//! Code of the application on threads of the library: hooks, filters, resolvers, loggers, and the
//! `Drop` of what it left with us. A panic in it must not end the thread.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Runs code of the application; `None` if it panicked.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(let_go).ok()
}

/// What it panicked with is the application's, too, and dropping it may panic: it is kept for ever,
/// unless it is a text, as it nearly always is. A peer may make something panic again and again.
fn let_go(thrown: Box<dyn Any + Send>) {
    if !thrown.is::<&'static str>() && !thrown.is::<String>() {
        std::mem::forget(thrown);
    }
}

/// The target of the log's lines, as the reference names the module: they stay the same wherever the
/// code is. Documented in the crate's documentation.
pub(crate) const P2P: &str = "p2p";
/// The same for what peer exchange has to say.
pub(crate) const PEX: &str = "pex";

/// Logs a line, as [`log::log`] does, with the target [`P2P`] or the one that is given. A logger is code
/// of the application.
macro_rules! tell {
    (target: $target:expr, $level:expr, $($line:tt)+) => {
        // That it cannot be logged cannot be logged either.
        _ = $crate::guard::guarded(|| log::log!(target: $target, $level, $($line)+))
    };
    ($level:expr, $($line:tt)+) => {
        $crate::guard::tell!(target: $crate::guard::P2P, $level, $($line)+)
    };
}

pub(crate) use tell;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_so_does_one_in_dropping_what_was_thrown() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a panic on purpose, in a drop")
            }
        }
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| std::panic::panic_any(Bomb)), None::<()>);
    }
}
