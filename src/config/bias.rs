//! The share of unproven addresses among those that are dialed.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Outbound peers beyond which the default grows no more.
const MOST_PEERS: usize = 8;

/// How much a node that looks for peers prefers *new* addresses, which nobody has vetted, to *old*
/// ones, which proved good: a function from the number of outbound peers to per cent. 0 picks old
/// ones only, 100 new ones only.
///
/// The default is the reference's, 10 + 10 × min(outbound, 8): a node without peers goes where it was
/// well before, one that has some can afford to look at others (`p2p/pex/pex_reactor.go`,
/// `ensurePeers`).
///
/// Called on the thread `p2p-pex`, whenever addresses are picked; it must not block. More than 100
/// counts as 100; once it has panicked the default takes its place. Either is logged once.
///
/// ```
/// # use tmp2p::{Config, PexBias};
/// // Always half of each.
/// let config = Config { pex_bias: PexBias::new(|_outbound| 50), ..Default::default() };
/// # config.check()?;
/// # Ok::<_, tmp2p::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct PexBias(Bias);

#[derive(Clone, Default)]
enum Bias {
    #[default]
    Reference,
    Custom(Arc<dyn Fn(usize) -> u8 + Send + Sync>),
}

/// What is wrong with a [`PexBias`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnfitBias {
    #[error("pex_bias says {0} per cent; 100 is taken instead")]
    OverHundred(u8),
    #[error("pex_bias has panicked; the default takes its place")]
    Panicked,
}

impl PexBias {
    /// This function of the number of outbound peers, in per cent.
    pub fn new(percent: impl Fn(usize) -> u8 + Send + Sync + 'static) -> Self {
        Self(Bias::Custom(Arc::new(percent)))
    }

    /// What the function says for so many outbound peers, fit for use, and what was wrong with it.
    pub(crate) fn percent(&self, outbound: usize) -> (u8, Option<UnfitBias>) {
        let Bias::Custom(percent) = &self.0 else { return (reference(outbound), None) };
        match catch_unwind(AssertUnwindSafe(|| percent(outbound))) {
            Ok(percent @ 0..=100) => (percent, None),
            Ok(percent) => (100, Some(UnfitBias::OverHundred(percent))),
            Err(_) => (reference(outbound), Some(UnfitBias::Panicked)),
        }
    }
}

/// The reference's function.
fn reference(outbound: usize) -> u8 {
    (outbound.min(MOST_PEERS) * 10 + 10) as u8
}

impl From<fn(usize) -> u8> for PexBias {
    fn from(percent: fn(usize) -> u8) -> Self {
        Self::new(percent)
    }
}

impl From<Arc<dyn Fn(usize) -> u8 + Send + Sync>> for PexBias {
    fn from(percent: Arc<dyn Fn(usize) -> u8 + Send + Sync>) -> Self {
        Self(Bias::Custom(percent))
    }
}

impl PartialEq for PexBias {
    /// Whether both are the default, or the same function: what it does nobody can compare.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Bias::Reference, Bias::Reference) => true,
            (Bias::Custom(one), Bias::Custom(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl fmt::Debug for PexBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Bias::Reference => "PexBias(default)",
            Bias::Custom(_) => "PexBias(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grows_with_the_number_of_peers_up_to_eight() {
        let percents = [0, 1, 2, 4, 7, 8, 9, usize::MAX].map(|n| PexBias::default().percent(n));
        assert_eq!(percents, [10, 20, 30, 50, 80, 90, 90, 90].map(|percent| (percent, None)));
    }

    #[test]
    fn what_a_function_may_not_say_is_clamped_or_replaced() {
        let wild = PexBias::new(|n| if n == 0 { 101 } else { panic!("wild") });
        assert_eq!(wild.percent(0), (100, Some(UnfitBias::OverHundred(101))));
        assert_eq!(wild.percent(2), (30, Some(UnfitBias::Panicked)));
    }

    #[test]
    fn a_plain_function_and_a_shared_closure_will_do() {
        fn constant(_: usize) -> u8 {
            30
        }
        let shared: Arc<dyn Fn(usize) -> u8 + Send + Sync> = Arc::new(|_| 30);
        let (plain, shared) = (PexBias::from(constant as fn(usize) -> u8), PexBias::from(shared));
        assert_eq!([plain.percent(3), shared.percent(3)], [(30, None); 2]);
        assert_eq!((&shared, PexBias::default()), (&shared.clone(), PexBias::default()));
        assert!(plain != shared && plain != PexBias::default());
        assert_eq!(format!("{plain:?} {:?}", PexBias::default()), "PexBias(..) PexBias(default)");
    }
}
