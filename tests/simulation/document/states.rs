//! States and events as the document names them.

use std::collections::BTreeSet;

use tmp2p::{
    Candidates, Config, SwitchEvent,
    internals::pex::PexRequest,
    internals::protocol::secret::Null,
    internals::switch::{Control, Limits},
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::{World, unheard},
};

fn candidates(
    world: &mut World<Null>,
    node: usize,
    after: Option<tmp2p::NodeId>,
    limit: usize,
) -> Candidates {
    let besides = BTreeSet::new();
    world.ask_pex(node, |reply| PexRequest::Candidates { after, limit, besides, reply })
}

#[test]
fn candidates_are_who_is_known_and_not_connected_page_by_page() {
    let mut world = internet(900);
    let node = world.join(quiet());
    let peer = world.join(quiet());
    world.tell(node, (1000..3500).map(addr));
    world.dial(node, peer);
    let [bad, banned] = [addr(1000).id(), addr(1001).id()];
    let reason = String::new();
    world.request(
        node,
        PexRequest::MarkBad { id: bad, addr: None, duration: HOUR, reason: reason.clone() },
    );
    let target = banned.into();
    world.request(node, PexRequest::Ban { target, duration: None, reason, reply: unheard() });
    world.run_for(SECOND);
    let expected: BTreeSet<_> = {
        let book = world.nodes[node].pex.core.book();
        let besides = [bad, banned, world.nodes[peer].id];
        book.iter().map(|known| known.addr.id()).filter(|id| !besides.contains(id)).collect()
    };
    assert!(expected.len() > 2000);
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = candidates(&mut world, node, after, 1000);
        assert_eq!(page.total, expected.len());
        assert!(page.page.len() <= 1000);
        seen.extend(page.page.iter().map(|known| known.addr.id()));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted() && pages == expected.len().div_ceil(1000));
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// The document: bad addresses are looked at while more peers are needed.
#[test]
fn a_bad_address_stays_bad_until_more_peers_are_needed() {
    let mut world = internet(901);
    let node = world.join(quiet());
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    world.tell(node, [at]);
    let (duration, reason) = (60 * SECOND, "no answer".to_owned());
    world.request(node, PexRequest::MarkBad { id: at.id(), addr: None, duration, reason });
    world.run_for(HOUR);
    let is_bad = |w: &World<Null>| w.nodes[node].pex.core.book().is_bad(&at.id());
    assert!(is_bad(&world));
    // Over a restart, too.
    world.revive(node);
    world.run_for(HOUR);
    assert!(is_bad(&world));
    let limits = Limits { max_num_inbound_peers: 40, max_num_outbound_peers: 1 };
    world.control(node, Control::SetLimits(limits));
    world.request(node, PexRequest::SetMaxOutbound(1));
    assert!(world.run_until(40 * SECOND, |w| w.session(node, peer).is_some()));
    assert!(!is_bad(&world));
    let events = &world.nodes[node].events;
    let reinstated =
        |e: &SwitchEvent| matches!(e, SwitchEvent::Reinstated { id } if *id == at.id());
    assert!(events.iter().any(reinstated));
}

/// What becomes of a node that never answers, told step by step.
#[test]
fn each_change_of_state_is_an_event() {
    let mut world = internet(902);
    let node = world.join(Config { max_num_outbound_peers: 1, ..Config::default() });
    let dead = addr(700);
    world.tell(node, [dead]);
    let word = |event: &SwitchEvent| match event {
        SwitchEvent::Dialing { addr } if addr.id() == dead.id() => Some("dialing"),
        SwitchEvent::DialFailed { addr, .. } if addr.id() == dead.id() => Some("failed"),
        SwitchEvent::Bad { id, .. } if *id == dead.id() => Some("bad"),
        SwitchEvent::Reinstated { id } if *id == dead.id() => Some("reinstated"),
        SwitchEvent::Banned(ban) if ban.target == dead.id().into() => Some("banned"),
        SwitchEvent::Unbanned(ban) if ban.target == dead.id().into() => Some("unbanned"),
        _ => None,
    };
    world.run_for(4 * 24 * HOUR);
    let told: Vec<_> = world.nodes[node].events.iter().filter_map(word).collect();
    let mut expected = ["dialing", "failed"].repeat(17);
    expected.extend(["bad", "reinstated", "dialing", "failed"]);
    assert_eq!(told[..expected.len()], expected);
    let before = told.len();
    let ban = |duration| PexRequest::Ban {
        target: dead.id().into(),
        duration,
        reason: String::new(),
        reply: unheard(),
    };
    world.request(node, ban(Some(HOUR)));
    world.run_for(2 * HOUR);
    let told: Vec<_> = world.nodes[node].events.iter().filter_map(word).collect();
    let bans: Vec<_> = told[before..].iter().filter(|word| word.ends_with("banned")).collect();
    assert_eq!(bans, [&"banned", &"unbanned"]);
    let target = dead.id().into();
    world.request(node, ban(None));
    world.request(node, PexRequest::Unban { target, reply: unheard() });
    world.run_for(SECOND);
    let told: Vec<_> = world.nodes[node].events.iter().filter_map(word).collect();
    assert!(told.ends_with(&["banned", "unbanned"]) || told.contains(&"unbanned"), "{told:?}");
}
