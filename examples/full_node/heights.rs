//! The height of the chain, from what peers say of theirs. Pure: no sockets, no clocks.

use std::collections::BTreeMap;

use tmp2p::ConnId;

/// A round that no chain ever comes to. Who says to be in it is sent transactions by Tendermint's
/// nodes, which look at the height alone, and neither votes nor block parts, which are for those
/// who are in the same round; and it is not taken for somebody who has seen the height himself.
const NO_ROUND: i32 = 1_000_000;

/// The step in which nobody asks for votes.
const COMMIT: u32 = 8;

/// `NewRoundStep`: where a node is in consensus.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NewRoundStep {
    #[prost(int64, tag = "1")]
    pub(crate) height: i64,
    #[prost(int32, tag = "2")]
    pub(crate) round: i32,
    #[prost(uint32, tag = "3")]
    pub(crate) step: u32,
    #[prost(int64, tag = "4")]
    pub(crate) seconds_since_start_time: i64,
    #[prost(int32, tag = "5")]
    pub(crate) last_commit_round: i32,
}

/// What peers say of their heights.
#[derive(Default)]
pub(crate) struct Heights {
    claims: BTreeMap<ConnId, Claim>,
    height: i64,
    /// The greatest height that two peers at least have confirmed, and somebody still does.
    confirmed: i64,
}

struct Claim {
    height: i64,
    last_commit_round: i32,
    /// The height that the peer was told.
    told: i64,
}

impl Heights {
    /// The height that the chain works on; 0 if nobody who is connected has said. It is what half
    /// of the peers and two of them have reached, so that neither one liar nor half of the peers
    /// that are stuck change it; one who is alone is believed. It does not fall because peers come
    /// that are behind.
    pub(crate) fn height(&self) -> i64 {
        self.height
    }

    /// The height of this peer; 0 if it has not said.
    pub(crate) fn of(&self, conn: ConnId) -> i64 {
        self.claims.get(&conn).map_or(0, |claim| claim.height)
    }

    /// A peer has said where it is; whether that is of use: it follows the chain. An error is what
    /// no honest node says.
    pub(crate) fn heard(
        &mut self,
        conn: ConnId,
        said: &NewRoundStep,
    ) -> Result<bool, &'static str> {
        let is_valid = said.height >= 1
            && said.round >= 0
            && (1..=8).contains(&said.step)
            && said.last_commit_round >= -1;
        if !is_valid {
            return Err("a NewRoundStep that makes no sense");
        }
        // Another node like this one repeats what it was told.
        if said.round >= NO_ROUND {
            return Ok(false);
        }
        let before = self.of(conn);
        let (height, last_commit_round) = (said.height, said.last_commit_round);
        let told = self.claims.get(&conn).map_or(0, |claim| claim.told);
        self.claims.insert(conn, Claim { height, last_commit_round, told });
        self.judge();
        Ok(height == self.height || (before > 0 && height > before && height <= self.height))
    }

    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.claims.remove(&conn);
        self.judge();
    }

    /// What to tell a peer, if it is new to it: the height after its own. So it sends its
    /// transactions, and nobody is told what another one made up. With its own height it would take
    /// this node for one that is behind, from its next block on until it is told again, and Tendermint
    /// v0.34 would read that block again and again to send its parts, without a pause, to a node
    /// that has no channel for them (`gossipDataForCatchup` in consensus/reactor.go).
    pub(crate) fn news_for(&self, conn: ConnId) -> Option<NewRoundStep> {
        let claim = self.claims.get(&conn)?;
        let height = claim.height.saturating_add(1);
        (height > claim.told).then(|| NewRoundStep {
            height,
            round: NO_ROUND,
            step: COMMIT,
            // It must have one after the first height.
            last_commit_round: claim.last_commit_round.max(0),
            ..NewRoundStep::default()
        })
    }

    pub(crate) fn was_told(&mut self, conn: ConnId, height: i64) {
        if let Some(claim) = self.claims.get_mut(&conn) {
            claim.told = height;
        }
    }

    fn judge(&mut self) {
        let mut claims: Vec<i64> = self.claims.values().map(|claim| claim.height).collect();
        claims.sort_unstable_by(|a, b| b.cmp(a));
        if claims.is_empty() {
            (self.height, self.confirmed) = (0, 0);
            return;
        }
        let needed = claims.len().div_ceil(2).max(2).min(claims.len());
        let half = claims[needed - 1];
        let of_two = if claims.len() > 1 { half } else { 0 };
        self.confirmed = self.confirmed.max(of_two);
        if claims[0] < self.confirmed {
            self.confirmed = of_two;
        }
        let supporters = claims.iter().filter(|claim| **claim >= self.height).count();
        let kept = if supporters * 3 > claims.len() { self.height } else { 0 };
        self.height = half.max(self.confirmed).max(kept);
    }
}
