//! Taking in what an `addrbook.json` holds.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use rand::Rng;

use super::{
    AddError, Added, Book, KnownAddress, Placement, buckets::start, json::ImportedBook,
    loading::without_future,
};

/// What became of the addresses of an `addrbook.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says what was refused"]
pub struct ImportReport {
    /// Addresses of nodes that the book knows now and did not know before.
    pub added: usize,
    /// Addresses of nodes that it knew. What it knew of them stays as it was; where the file has another
    /// address, that one is tried.
    pub known: usize,
    /// How many it does not take, by reason.
    pub refused: BTreeMap<AddError, usize>,
    /// Addresses that had to give way to others of the same file: their buckets are full.
    pub crowded_out: usize,
}

impl ImportReport {
    /// How many addresses the book does not take, for whatever reason.
    pub fn num_refused(&self) -> usize {
        self.refused.values().sum()
    }
}

impl fmt::Display for ImportReport {
    /// In one line, with the reasons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, known, crowded_out, .. } = self;
        write!(f, "{added} added, {known} known, {} refused", self.num_refused())?;
        for (n, (reason, count)) in self.refused.iter().enumerate() {
            let before = if n == 0 { " (" } else { "; " };
            write!(f, "{before}{count}: {reason}")?;
        }
        if !self.refused.is_empty() {
            f.write_str(")")?;
        }
        if *crowded_out > 0 {
            write!(f, ", {crowded_out} without a place in their buckets")?;
        }
        Ok(())
    }
}

impl Book {
    /// Takes in what an `addrbook.json` holds and this book does not know yet. Where it is kept follows
    /// from this book's own key.
    ///
    /// A book without an address takes over its history, too: it is that of the node which was here
    /// before, and good ones stay good where there is room. Any other book has its own, and a file may
    /// come from anybody: what is in it was told, by one source.
    pub fn import(
        &mut self,
        book: ImportedBook,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> ImportReport {
        let mut report = ImportReport::default();
        let mut taken = Vec::new();
        let (is_first, src) = (self.iter().next().is_none(), self.own_addr());
        for known in book.addresses {
            let id = known.addr.id();
            let added = match is_first {
                true => self.take_over(known, wall, rng),
                false => self.add(known.addr, src, wall, rng),
            };
            match added {
                Ok(Added::New) => taken.push(id),
                Ok(_) => report.known += 1,
                Err(reason) => *report.refused.entry(reason).or_default() += 1,
            }
        }
        report.added = taken.iter().filter(|id| self.table.find(id).is_some()).count();
        report.crowded_out = taken.len() - report.added;
        report
    }

    /// Adds it with its history.
    fn take_over(
        &mut self,
        known: KnownAddress,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> Result<Added, AddError> {
        let addr = known.addr;
        self.check_told(&addr, wall)?;
        if self.table.find(&addr.id()).is_some() {
            return Ok(Added::Known);
        }
        let is_old = matches!(known.placement, Placement::Old(_));
        let n = self.table.insert(without_future(known, wall));
        let bucket = self.hash.old_bucket(&addr);
        if is_old && !self.table.old.is_full(bucket) {
            self.table.join_old(n, bucket);
        } else {
            self.place_anew(n, wall, start(rng));
        }
        Ok(Added::New)
    }

    /// The file with this SHA-256 was taken in, which goes into the next batch: it is not to be taken
    /// in again at the next start.
    pub fn set_imported(&mut self, digest: [u8; 32]) {
        self.imported = Some(digest);
    }
}
