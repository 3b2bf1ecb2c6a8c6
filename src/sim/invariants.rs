//! What holds after every step of every simulated run.

use std::collections::BTreeSet;
use std::time::Duration;

use super::peer::Peer;
use super::wire::Wire;
use crate::Config;
use crate::time::{Instant, after};

/// What was seen of one side so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// How many of the sent datagrams were looked at.
    seen: usize,
    transactions: BTreeSet<[u8; 12]>,
    last_start: Option<Instant>,
}

/// Checks one drained side.
///
/// # Panics
/// If an invariant does not hold.
pub(super) fn check(now: Instant, peer: &Peer, config: &Config, watch: &mut Watch) {
    let agent = &peer.agent;
    assert!(
        agent.poll_timeout().is_none_or(|at| at > now),
        "a drained agent wants to be called at {:?}, which is not after {now:?}",
        agent.poll_timeout(),
    );
    let listed = agent.pairs().filter(|pair| !pair.is_valid).count();
    assert!(listed <= config.max_pairs, "{listed} pairs are more than {}", config.max_pairs);
    for sent in peer.sent.iter().skip(watch.seen) {
        assert!(peer.sockets().contains(&sent.source), "{} was never a socket", sent.source);
        if let Wire::Request(request) = Wire::decode(&sent.payload) {
            if watch.transactions.insert(request.id) {
                let earliest = watch.last_start.map(|at| after(at, config.ta.max(Duration::from_millis(5))));
                assert!(earliest.is_none_or(|at| at <= sent.at), "two transactions started within Ta");
                watch.last_start = Some(sent.at);
            }
        }
    }
    watch.seen = peer.sent.len();
}
