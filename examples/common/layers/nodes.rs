//! Lists of nodes. Go starts with some entries that nobody can use, and so does this program: it
//! leaves them out and says so. What stops Go stops this one, with all such entries told at once.

use std::collections::BTreeMap;

use tmp2p::{AddressError, NodeId, PeerAddress};

/// A list, entry by entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    /// What is used.
    pub(crate) kept: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
}

/// Entries with their numbers, for people.
fn entries(text: &str) -> impl Iterator<Item = (String, &str)> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.enumerate().map(|(at, entry)| (format!("entry {}, {entry:?}", at + 1), entry))
}

/// Addresses to dial, `ID@HOST:PORT`.
pub(crate) fn peers(text: &str) -> List {
    let mut list = List::default();
    let mut by_id: BTreeMap<NodeId, Vec<PeerAddress>> = BTreeMap::new();
    for (shown, entry) in entries(text) {
        let why = match entry.parse::<PeerAddress>() {
            Ok(addr) => match why_undialable(&addr) {
                None => {
                    let addrs = by_id.entry(addr.id()).or_default();
                    if !addrs.contains(&addr) {
                        addrs.push(addr);
                        list.kept.push(entry.to_owned());
                    }
                    continue;
                }
                Some(why) => why,
            },
            Err(_) if has_odd_host(entry) => "no host can have this name",
            Err(error) => {
                list.faults.push(format!("{shown}: {}", why_no_address(error)));
                continue;
            }
        };
        list.warnings.push(format!("{shown}: left out, {why}"));
    }
    for (id, addrs) in by_id.iter().filter(|(_, addrs)| addrs.len() > 1) {
        list.warnings.push(format!(
            "{id} is there with {} addresses, which are dialed one after the other",
            addrs.len()
        ));
    }
    list
}

/// IDs of nodes. Where they stand with addresses, as in other lists, the address means nothing. Go
/// does not look at the IDs of all lists; those that it does are `strict`.
pub(crate) fn ids(text: &str, strict: bool) -> List {
    let mut list = List::default();
    for (shown, entry) in entries(text) {
        match entry.parse::<NodeId>() {
            Ok(_) => list.kept.push(entry.to_owned()),
            Err(error) => match id_of_address(entry) {
                Some(id) => {
                    list.warnings.push(format!("{shown}: only the ID of it counts, write {id}"));
                    list.kept.push(id.to_string());
                }
                None if strict => list.faults.push(format!("{shown}: {error}")),
                None => list.warnings.push(format!("{shown}: left out, {error}")),
            },
        }
    }
    list
}

/// Whether it is an address but for its host, which Go would ask the name server for in vain.
fn has_odd_host(entry: &str) -> bool {
    let address = entry.split("://").nth(1).unwrap_or(entry);
    let Some((id, (host, _))) =
        address.split_once('@').and_then(|(id, location)| Some((id, location.rsplit_once(':')?)))
    else {
        return false;
    };
    let (host, is_bracketed) = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(host) => (host, true),
        None => (host, false),
    };
    let is_one = !host.is_empty() && !host.contains(['[', ']', '@']);
    let is_host = is_one && (is_bracketed || !host.contains(':'));
    is_host
        && id.parse::<NodeId>().is_ok()
        && format!("{id}@[{host}]:1").parse::<PeerAddress>().is_err()
}

/// The reason alone: the entry is told already.
fn why_no_address(error: AddressError) -> String {
    match error {
        AddressError::NoId { .. } => "there is no ID; write ID@HOST:PORT".to_owned(),
        AddressError::Invalid { reason, .. } => reason,
        error => error.to_string(),
    }
}

fn why_undialable(addr: &PeerAddress) -> Option<&'static str> {
    if addr.port() == 0 {
        Some("nobody listens on port 0")
    } else if addr.net_address().is_some_and(|addr| !addr.is_valid()) {
        Some("nobody can be at this address")
    } else {
        None
    }
}

fn id_of_address(entry: &str) -> Option<NodeId> {
    let (id, _) = entry.split_once('@')?;
    id.rsplit("://").next()?.parse().ok()
}
