//! What many tests need.

use std::time::Duration;

use nilas::sim::{Pair, PairSetup, Sent, SideName, SideSetup, Wire};
use nilas::{Config, ConnectionState, Event, Instant, Seed};

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// The same without consent and with hardly a keepalive: a pair in use is quiet, whatever becomes of the peer.
pub(crate) fn silent(config: Config) -> Config {
    config.with_consent(false).with_keepalive_interval(secs(3600))
}

/// Both sides without consent and with hardly a keepalive.
pub(crate) fn silent_setup(name: &str) -> PairSetup {
    let silence = |side: &mut SideSetup| side.config = silent(side.config.clone());
    setup(name).left(silence).right(silence)
}

pub(crate) fn setup(name: &str) -> PairSetup {
    PairSetup::new(Seed::from_name(name))
}

/// The requests that a side has sent, with their times.
pub(crate) fn requests(sent: &[Sent]) -> Vec<(Instant, nilas::sim::WireRequest, Sent)> {
    sent.iter()
        .filter_map(|sent| Some((sent.at, Wire::decode(&sent.payload).request()?.clone(), sent.clone())))
        .collect()
}

/// How many datagrams both sides have sent.
pub(crate) fn packets(pair: &Pair) -> usize {
    pair.l.sent.len() + pair.r.sent.len()
}

/// The connection states that a side went through.
pub(crate) fn states(pair: &Pair, side: SideName) -> Vec<ConnectionState> {
    pair.peer(side)
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::ConnectionStateChanged { current, .. } => Some(*current),
            _ => None,
        })
        .collect()
}
