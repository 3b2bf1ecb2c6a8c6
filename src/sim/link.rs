//! Links: delay, loss, reordering and duplication of packets, drawn from the seed of the network.

use core::time::Duration;

use super::trace::DropReason;
use crate::types::Random;

/// What happens to packets on their way. The default is a perfect link: no delay and nothing lost.
///
/// A probability is a number from 0.0, never, to 1.0, always.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain configuration, written with `..Link::default()`")]
pub struct Link {
    /// Time that every packet takes.
    pub delay: Duration,
    /// Longest time added to `delay`, uniformly drawn for each packet. Packets sent closer together than this may
    /// arrive in another order.
    pub jitter: Duration,
    /// Probability that a packet is lost, independently of others.
    pub loss: f64,
    /// Loss that comes in bursts, on top of `loss`.
    pub burst: Option<BurstLoss>,
    /// Probability that a packet is held back by `reorder_delay`, so that later ones overtake it.
    pub reorder: f64,
    /// How long a packet is held back.
    pub reorder_delay: Duration,
    /// Probability that a packet arrives twice. The copy draws its own jitter.
    pub duplicate: f64,
    /// Largest IP packet, headers of IP and UDP included (28 bytes over IPv4, 48 over IPv6). Larger ones are dropped,
    /// as if fragments do not pass. `None` lets everything pass.
    pub mtu: Option<usize>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            burst: None,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            duplicate: 0.0,
            mtu: None,
        }
    }
}

/// Loss in bursts, after Gilbert and Elliott: a link is in a good or a bad state and may change it with every packet.
///
/// The mean length of a bad period is `1 / leave` packets, and the link is bad for `enter / (enter + leave)` of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "plain configuration")]
pub struct BurstLoss {
    /// Probability of going from the good state to the bad one.
    pub enter: f64,
    /// Probability of going from the bad state to the good one.
    pub leave: f64,
    /// Probability that a packet is lost in the bad state.
    pub loss: f64,
}

/// What a link does to one packet that gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Crossing {
    pub(super) delay: Duration,
    /// Delay of a second copy.
    pub(super) copy: Option<Duration>,
}

impl Crossing {
    /// This crossing followed by another. No more than one copy is made of a packet.
    pub(super) fn then(self, next: Self) -> Self {
        let copy = match (self.copy, next.copy) {
            (Some(copy), _) => Some(copy.saturating_add(next.delay)),
            (None, Some(copy)) => Some(self.delay.saturating_add(copy)),
            (None, None) => None,
        };
        Self { delay: self.delay.saturating_add(next.delay), copy }
    }
}

impl Link {
    /// A link that only delays.
    #[must_use]
    pub fn with_delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// A link that only loses packets, each with this probability.
    #[must_use]
    pub fn with_loss(loss: f64) -> Self {
        Self { loss, ..Self::default() }
    }

    /// True if nothing ever gets through.
    pub(super) fn is_dead(&self) -> bool {
        self.loss >= 1.0
    }

    /// Sends an IP packet of `size` bytes through. `bad` is the state of the burst loss.
    pub(super) fn cross(&self, bad: &mut bool, random: &mut Random, size: usize) -> Result<Crossing, DropReason> {
        if self.mtu.is_some_and(|mtu| size > mtu) {
            return Err(DropReason::TooLarge);
        }
        if let Some(burst) = self.burst {
            let turns = random.chance(if *bad { burst.leave } else { burst.enter });
            *bad ^= turns;
            if *bad && random.chance(burst.loss) {
                return Err(DropReason::BurstLoss);
            }
        }
        if random.chance(self.loss) {
            return Err(DropReason::Loss);
        }
        let held = if random.chance(self.reorder) { self.reorder_delay } else { Duration::ZERO };
        let base = self.delay;
        let delay = base.saturating_add(random.up_to(self.jitter)).saturating_add(held);
        let copy = random.chance(self.duplicate).then(|| base.saturating_add(random.up_to(self.jitter)));
        Ok(Crossing { delay, copy })
    }
}

/// The link of one interface in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) link: Link,
    pub(super) bad: bool,
}

impl Access {
    pub(super) const fn new(link: Link) -> Self {
        Self { link, bad: false }
    }

    pub(super) fn cross(&mut self, random: &mut Random, size: usize) -> Result<Crossing, DropReason> {
        self.link.cross(&mut self.bad, random, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use alloc::vec::Vec;

    const PACKETS: usize = 20_000;

    fn outcomes(link: Link) -> Vec<Result<Crossing, DropReason>> {
        let mut random = Random::new(&Seed::from_number(1));
        let mut bad = false;
        (0..PACKETS).map(|_| link.cross(&mut bad, &mut random, 100)).collect()
    }

    fn lost(outcomes: &[Result<Crossing, DropReason>]) -> usize {
        outcomes.iter().filter(|outcome| outcome.is_err()).count()
    }

    #[test]
    fn a_perfect_link_delivers_everything_at_once() {
        assert!(outcomes(Link::default()).iter().all(|outcome| *outcome == Ok(Crossing::default())));
    }

    #[test]
    fn loss_is_as_frequent_as_configured() {
        for (loss, range) in [(0.0, 0..1), (0.1, 1_850..2_150), (0.5, 9_700..10_300), (1.0, PACKETS..PACKETS + 1)] {
            let lost = lost(&outcomes(Link::with_loss(loss)));
            assert!(range.contains(&lost), "{lost} of {PACKETS} lost at {loss}");
        }
    }

    #[test]
    fn burst_loss_loses_the_configured_share_in_runs_of_the_configured_length() {
        let burst = BurstLoss { enter: 0.01, leave: 0.1, loss: 1.0 };
        let outcomes = outcomes(Link { burst: Some(burst), ..Link::default() });
        let lost = lost(&outcomes);
        // The share is 0.01 / 0.11, or 1818 packets, and a run has 10 packets in the mean.
        assert!((1_400..2_250).contains(&lost), "{lost} of {PACKETS} lost");
        let runs = outcomes.windows(2).filter(|pair| pair[0].is_ok() && pair[1].is_err()).count();
        assert!((7..14).contains(&(lost / runs)), "{lost} lost in {runs} runs");
        assert!(outcomes.iter().all(|outcome| !matches!(outcome, Err(reason) if *reason != DropReason::BurstLoss)));
    }

    #[test]
    fn jitter_spreads_the_delay_evenly_between_its_limits() {
        let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(10));
        let outcomes = outcomes(Link { delay, jitter, ..Link::default() });
        let delays: Vec<_> = outcomes.iter().map(|outcome| outcome.unwrap().delay).collect();
        assert!(delays.iter().all(|drawn| (delay..=delay + jitter).contains(drawn)));
        let late = delays.iter().filter(|drawn| **drawn > delay + jitter / 2).count();
        assert!((9_700..10_300).contains(&late), "{late} of {PACKETS} in the later half");
    }

    #[test]
    fn a_share_of_the_packets_is_held_back() {
        let held = Duration::from_millis(30);
        let outcomes = outcomes(Link { reorder: 0.2, reorder_delay: held, ..Link::default() });
        let late = outcomes.iter().filter(|outcome| outcome.unwrap().delay == held).count();
        assert!((3_800..4_200).contains(&late), "{late} of {PACKETS} held back");
        assert!(outcomes.iter().all(|outcome| [Duration::ZERO, held].contains(&outcome.unwrap().delay)));
    }

    #[test]
    fn a_share_of_the_packets_is_duplicated() {
        let outcomes = outcomes(Link { duplicate: 0.1, ..Link::default() });
        let copies = outcomes.iter().filter(|outcome| outcome.unwrap().copy.is_some()).count();
        assert!((1_850..2_150).contains(&copies), "{copies} of {PACKETS} duplicated");
    }

    #[test]
    fn the_mtu_is_the_largest_packet_that_passes() {
        let link = Link { mtu: Some(1280), ..Link::default() };
        let mut random = Random::new(&Seed::from_number(1));
        assert!(link.cross(&mut false, &mut random, 1280).is_ok());
        assert_eq!(link.cross(&mut false, &mut random, 1281), Err(DropReason::TooLarge));
    }

    #[test]
    fn links_in_a_row_add_their_delays_and_make_one_copy_at_most() {
        let ms = Duration::from_millis;
        let first = Crossing { delay: ms(1), copy: Some(ms(2)) };
        let second = Crossing { delay: ms(10), copy: Some(ms(20)) };
        assert_eq!(first.then(second), Crossing { delay: ms(11), copy: Some(ms(12)) });
        assert_eq!(Crossing { delay: ms(1), copy: None }.then(second), Crossing { delay: ms(11), copy: Some(ms(21)) });
    }
}
