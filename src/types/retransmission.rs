//! When a request over UDP is sent again, and when it is given up (RFC 8489 §6.2.1).
//!
//! ```text
//!           RTO     2 RTO       4 RTO, up to the cap       the cap, and so on
//!   sent ------- sent ------- sent ------------------- sent ------------------- .. until the patience is over
//! ```
//!
//! The patience is that of RFC 8489: RTO · (2^(Rc - 1) - 1 + Rm). As long as the intervals double, a request is sent Rc
//! times; once they have reached the cap, it goes on at that pace, so that a network that comes late is noticed soon.

use core::time::Duration;

/// How long consent lasts after an answer (RFC 7675 §5.1).
pub(crate) const CONSENT_EXPIRY: Duration = Duration::from_secs(30);

/// How often, how fast, and how long (RFC 8489 §6.2.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Transmissions of one request whose intervals double.
    pub(crate) rc: u8,
    /// Length of the final wait in RTOs.
    pub(crate) rm: u32,
    /// The least RTO: what the patience is counted in.
    pub(crate) rto: Duration,
}

impl Schedule {
    /// From the first transmission to giving up.
    pub(crate) fn patience(self) -> Duration {
        let doublings = u32::from(self.rc.max(1)) - 1;
        let waits = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX).saturating_sub(1);
        self.rto.saturating_mul(waits.saturating_add(self.rm))
    }

    /// The same with an RTO that has grown with the number of checks: as long, if that leaves time for Rc transmissions.
    pub(crate) fn patience_with(self, rto: Duration) -> Duration {
        self.patience().max(rto.saturating_mul(u32::from(self.rc)))
    }

    /// The way of a request with this RTO, which is not less than the least one.
    pub(crate) fn begin(self, rto: Duration) -> Retransmission {
        Retransmission { rc: self.rc, rto, next: rto, left: self.patience_with(rto), sent: 0 }
    }
}

/// How far one request has come on its schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retransmission {
    rc: u8,
    rto: Duration,
    /// The next interval, were it not for the cap.
    next: Duration,
    /// What is left of the patience once the current wait is over.
    left: Duration,
    sent: u32,
}

impl Retransmission {
    /// The least RTO of RFC 8445 §14.3. A transmission that would be waited for less long is left out at the end.
    const LEAST_WAIT: Duration = Duration::from_millis(500);

    /// The way of a request that is sent once.
    pub(crate) const fn single(patience: Duration) -> Self {
        Self { rc: 1, rto: patience, next: Duration::ZERO, left: patience, sent: 0 }
    }

    /// Records a transmission; gives the time after which the request is sent again, or given up if it
    /// [is over](Self::is_over) then. The interval doubles up to `cap`, which counts for nothing below the RTO.
    ///
    /// It is waits that use the patience up: a caller that comes late sends once for all that it has missed.
    pub(crate) fn send(&mut self, cap: Duration) -> Duration {
        let cap = cap.max(self.rto);
        self.sent = self.sent.saturating_add(1);
        let is_capped = self.next > cap;
        let wait = match (is_capped, self.sent >= u32::from(self.rc)) {
            (true, _) => cap,
            (false, true) => self.left,
            (false, false) => self.next,
        };
        if !is_capped {
            self.next = self.next.saturating_mul(2);
        }
        let rest = self.left.saturating_sub(wait);
        let wait = if rest < Self::LEAST_WAIT { self.left } else { wait };
        self.left = self.left.saturating_sub(wait);
        wait
    }

    /// Whether the request is given up after the current wait.
    pub(crate) const fn is_over(&self) -> bool {
        self.left.is_zero()
    }

    /// How often it was sent.
    pub(crate) const fn sent(&self) -> u32 {
        self.sent
    }

    /// The time that the first transmission is waited for.
    pub(crate) const fn rto(&self) -> Duration {
        self.rto
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const fn schedule(rc: u8, rm: u32) -> Schedule {
        Schedule { rc, rm, rto: ms(500) }
    }

    /// The milliseconds of all transmissions, and of the end.
    fn run(mut way: Retransmission, cap: Duration) -> (Vec<u128>, u128) {
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        while sent.is_empty() || !way.is_over() {
            sent.push(now.as_millis());
            now += way.send(cap);
        }
        assert_eq!(way.sent() as usize, sent.len());
        (sent, now.as_millis())
    }

    /// Req: 8489-6.2.1-a
    #[test]
    fn intervals_double_up_to_the_cap_and_the_patience_stays() {
        let capped: Vec<u128> = [0, 500].into_iter().chain((0..19).map(|n| 1500 + 2000 * n)).collect();
        assert_eq!(run(schedule(7, 16).begin(ms(500)), ms(2000)), (capped, 39_500));
        let printed = Vec::from([0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(run(schedule(7, 16).begin(ms(500)), Duration::MAX), (printed, 39_500));
        let slower = Vec::from([0, 500, 1500, 3500, 7500, 12_500, 17_500, 22_500, 27_500, 32_500, 37_500]);
        assert_eq!(run(schedule(7, 16).begin(ms(500)), ms(5000)), (slower, 39_500));
    }

    /// Req: 8489-6.2.1-a
    #[test]
    fn an_rto_that_has_grown_beyond_the_cap_is_kept_and_the_patience_grows_only_to_fit_rc_transmissions() {
        let every = |step: u128, count: u128| (0..count).map(|n| n * step).collect::<Vec<_>>();
        assert_eq!(run(schedule(7, 16).begin(ms(2000)), ms(2000)), (every(2000, 20), 39_500));
        assert_eq!(run(schedule(7, 16).begin(ms(5000)), ms(2000)), (every(5000, 8), 39_500));
        assert_eq!(run(schedule(7, 16).begin(ms(45_000)), ms(2000)), (every(45_000, 7), 315_000));
    }

    #[test]
    fn the_cap_may_change_on_the_way_and_no_transmission_comes_right_before_the_end() {
        let mut way = schedule(7, 16).begin(ms(500));
        let caps = [2000, 2000, 2000, 5000, 1000, 2000];
        assert_eq!(caps.map(|cap| way.send(ms(cap)).as_millis()), [500, 1000, 2000, 4000, 1000, 2000]);
        // The next one would leave 0.2 s before the end.
        let (sent, end) = run(schedule(7, 16).begin(ms(500)), ms(1800));
        assert_eq!((sent.len(), end, sent.last().map(|last| end - last)), (23, 39_500, Some(2000)));
    }

    #[test]
    fn few_transmissions_are_as_many_as_rc_says_while_their_intervals_double() {
        for cap in [ms(2000), Duration::MAX] {
            assert_eq!(run(schedule(1, 16).begin(ms(500)), cap), (Vec::from([0]), 8000));
            assert_eq!(run(schedule(3, 4).begin(ms(500)), cap), (Vec::from([0, 500, 1500]), 3500));
            assert_eq!(run(Retransmission::single(ms(700)), cap), (Vec::from([0]), 700));
        }
        let longest = Schedule { rc: 16, rm: 64, rto: ms(60_000) };
        assert_eq!(run(longest.begin(ms(60_000)), Duration::MAX).0.len(), 16);
    }
}
