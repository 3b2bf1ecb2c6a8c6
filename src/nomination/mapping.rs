//! Under which address the peer sees us on a path, and whether a change of it is worth a nomination.
//!
//! To the peer, another address of ours is another pair, which is nominated so that both ends use it. That is done at once for
//! an address that is new. A NAT that takes its addresses in turn, or a new one for every packet, would have us nominate without
//! end, so there is an allowance, which grows by one nomination a minute.
//!
//! Consent checks that nominate again do so for the address from which they happen to come. They do it while that is settled: each
//! time that an address comes back it takes twice as many answers in a row, up to four, and eight in a row start that anew.

use core::net::SocketAddr;
use core::time::Duration;

use crate::config::limits;
use crate::types::{Instant, PairId, after};

/// What is known of the address under which the peer sees one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The pair on the checklist that stands for the path.
    pub(crate) path: PairId,
    /// The address from which the peer was nominated to, and the one before.
    told: SocketAddr,
    left: SocketAddr,
    /// The address in the latest answer, and how many in a row have shown it.
    seen: SocketAddr,
    run: u32,
    /// How many in a row make it settled.
    wanted: u32,
    /// How many nominations are allowed, and when that grows.
    allowance: u32,
    grows_at: Instant,
}

impl Mapping {
    const MOST_WANTED: u32 = 4;
    const MOST_ALLOWED: u32 = limits::MAPPING_NOMINATIONS;
    const GROWTH: Duration = Duration::from_secs(60);

    /// The path that is about to be nominated for the first time, as the latest answer has shown it.
    pub(crate) fn new(path: PairId, address: SocketAddr, now: Instant) -> Self {
        let (told, left, seen) = (address, address, address);
        let grows_at = after(now, Self::GROWTH);
        Self { path, told, left, seen, run: 1, wanted: 1, allowance: Self::MOST_ALLOWED, grows_at }
    }

    /// Whether the peer sees the address that it was told, and will in all likelihood see it in the next check, too.
    pub(crate) fn is_settled(&self) -> bool {
        self.seen == self.told && self.run >= self.wanted
    }

    /// Notes the address in an answer; whether the peer is to be told that it is another one, which an allowance limits.
    #[must_use]
    pub(crate) fn observe(&mut self, now: Instant, address: SocketAddr, is_unlimited: bool) -> bool {
        if self.grows_at <= now {
            let minutes = now.saturating_duration_since(self.grows_at).as_secs() / Self::GROWTH.as_secs();
            let grown = u32::try_from(minutes).unwrap_or(u32::MAX).saturating_add(1);
            self.allowance = self.allowance.saturating_add(grown).min(Self::MOST_ALLOWED);
            self.grows_at = after(now, Self::GROWTH);
        }
        self.run = if address == self.seen { self.run.saturating_add(1) } else { 1 };
        self.seen = address;
        if self.run >= 2 * Self::MOST_WANTED {
            self.wanted = 1;
        }
        if address == self.told || self.allowance == 0 && !is_unlimited {
            return false;
        }
        if address == self.left {
            self.wanted = (2 * self.wanted).min(Self::MOST_WANTED);
        }
        self.allowance = self.allowance.saturating_sub(1);
        (self.left, self.told) = (self.told, address);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many nominations answers with these ports bring, which come so many seconds apart.
    fn told(gap: u64, ports: impl IntoIterator<Item = u16>) -> usize {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut now = Instant::ZERO;
        let mut mapping = Mapping::new(PairId { serial: 0, slot: 0 }, address(1), now);
        let mut is_told = |port: &u16| {
            now = after(now, Duration::from_secs(gap));
            mapping.observe(now, address(*port), false)
        };
        ports.into_iter().filter(|port| is_told(port)).count()
    }

    #[test]
    fn an_address_that_is_new_is_told_at_once_and_once() {
        assert_eq!(told(5, [1, 1, 1, 2, 2, 2, 3, 4]), 3);
        assert_eq!(told(5, (0..1000).map(|n| 1 + n / 20)), 49, "any number of them, 100 s apart");
        assert_eq!(told(5, (0..1000).map(|n| 1 + n / 20 % 2)), 49, "and back");
    }

    #[test]
    fn addresses_in_turn_are_told_once_a_minute_in_the_long_run() {
        // 83 minutes.
        let most = 8 + 84;
        assert!(told(5, (0..1000).map(|n| 1 + n % 2)) <= most);
        assert!(told(5, (0..1000).map(|n| 1 + n % 3)) <= most);
        assert!(told(5, (0..1000).map(|n| 1 + n / 5 % 2)) <= most);
        assert!(told(5, 1..1001) <= most);
        assert!(told(0, 1..1001) <= 8);
    }

    #[test]
    fn an_address_is_settled_until_it_alternates_and_again_when_it_stays() {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut mapping = Mapping::new(PairId { serial: 0, slot: 0 }, address(1), Instant::ZERO);
        let mut settled = |port: u16| {
            let _ = mapping.observe(Instant::ZERO, address(port), false);
            mapping.is_settled()
        };
        let seen = [1, 1, 2, 2, 1, 2, 1, 2, 1, 1, 1, 1].map(&mut settled);
        assert_eq!(seen, [true, true, true, true, false, false, false, false, false, false, false, true]);
    }
}
