//! The case where there are no network namespaces.

use crate::common::{Args, Outcome, Reporter};

pub(crate) const NAME: &str = "shaped/rate=100mbit/rtt=50ms";

pub(crate) fn report(_: &Args, reporter: &mut Reporter) {
    reporter.skip(NAME, "needs Linux");
}

pub(crate) fn child_role(_: &[&str]) -> Option<Outcome<()>> {
    None
}
