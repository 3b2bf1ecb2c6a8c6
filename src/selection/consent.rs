//! Consent to send, and the health of a path in use (RFC 7675).
//!
//! While a pair is in use, the peer is asked every 4 to 6 s whether it still wants our packets. Each answer gives consent
//! for 30 s. That pace is too slow to notice a dead path, so the first answer that is missing raises suspicion, and the
//! path is probed until an answer comes or nothing was heard for as long as the application has patience:
//!
//! ```text
//!             an answer is missing         nothing heard for `detect_within`         30 s since the last answer
//!   Healthy ----------------------> Suspect --------------------------------> Lost --------------------------> (expired)
//!      ^                               |                                        |
//!      +------- anything heard --------+---------------- an answer -------------+
//! ```
//!
//! What counts as heard is any sign that the peer's packets come through: an answer, a check of the peer, or data of which
//! the application says so. Only answers give consent.

mod hint;

use core::time::Duration;

use self::hint::Hint;
use crate::types::{CONSENT_EXPIRY, Instant, PathHealth, Random, after, earliest};

/// What a pair is watched for, and how often it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cadence {
    duty: Duty,
    /// The shortest time from one regular check to the next, and how much longer it may be.
    least: Duration,
    spread: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// It carries the data.
    Active,
    /// It carries none for the time being: consent may lapse (RFC 7675 §5.1).
    Idle,
    /// It is kept for the case that the pair in use dies.
    Spare,
    /// Nothing is asked: a lite agent listens to the checks of its peer (RFC 7675 §1).
    Passive,
}

impl Cadence {
    pub(crate) const PASSIVE: Self = Self { duty: Duty::Passive, least: Duration::ZERO, spread: Duration::ZERO };

    /// Of a pair that carries data: 0.8 to 1.2 times the base (RFC 7675 §5.1).
    pub(crate) fn active(base: Duration) -> Self {
        Self { duty: Duty::Active, least: base.saturating_sub(base / 5), spread: base.saturating_mul(2) / 5 }
    }

    /// Of a pair that carries none for the time being: 0.8 to 1 times the interval.
    pub(crate) fn idle(interval: Duration) -> Self {
        Self { duty: Duty::Idle, ..Self::within(interval) }
    }

    /// Of a pair in reserve: 0.8 to 1 times the interval.
    pub(crate) fn spare(interval: Duration) -> Self {
        Self::within(interval)
    }

    /// Of a pair in reserve for which consent is kept as if it were in use.
    pub(crate) fn kept(base: Duration) -> Self {
        Self { duty: Duty::Spare, ..Self::active(base) }
    }

    fn within(interval: Duration) -> Self {
        Self { duty: Duty::Spare, least: interval.saturating_sub(interval / 5), spread: interval / 5 }
    }

    /// Time from one regular check to the next, drawn anew each time.
    fn gap(self, random: &mut Random) -> Duration {
        let spread = u64::try_from(self.spread.as_nanos()).unwrap_or(u64::MAX);
        self.least.saturating_add(Duration::from_nanos(random.below(spread.saturating_add(1))))
    }
}

/// Consent of the peer on one path.
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    health: PathHealth,
    cadence: Cadence,
    /// When the last answer came.
    answered_at: Instant,
    /// From when silence counts: the first answer, or when a pair was taken into use that was not heard of lately.
    since: Instant,
    /// When the peer was last heard in whatever way.
    heard_at: Instant,
    /// When the latest check left, regular or not.
    asked_at: Instant,
    /// When the next regular check is due.
    regular_at: Instant,
    /// When the next probe is due, while there is suspicion.
    probe_at: Option<Instant>,
    /// When the oldest check left that is not answered, nor was any after it.
    unanswered_since: Option<Instant>,
    /// When its answer should have come.
    missing_at: Option<Instant>,
    /// The next answer is waited for no longer than it usually takes: there is reason to doubt the path.
    is_doubted: bool,
    /// The next check is followed by another one soon.
    is_urged: bool,
    /// A check waits for its turn.
    pub(crate) is_queued: bool,
    /// The round of probes that the latest hint of the host has brought.
    hint: Option<Hint>,
    /// After such a hint, two probes were not answered.
    is_unreachable: bool,
    /// The host cannot send on it, and no answer has come since.
    is_cut: bool,
    /// It was found that nobody had looked at the clock for long, and no answer has come since.
    has_overslept: bool,
    /// Share of the checks that were not answered in time, in millionths, the last hundred counting most.
    loss: u32,
    /// How many checks that is made of.
    checks: u32,
}

/// What consent wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing for now.
    Nothing,
    /// A check is due.
    Check,
    /// Consent is over: nothing may be sent any more.
    Expired,
    /// A pair in reserve does not answer. It was not in use, so that it may be checked again later.
    Lapsed,
}

impl Consent {
    /// The longest wait for an answer of a peer that is not suspected, beyond the round-trip time.
    const PATIENCE: Duration = Duration::from_millis(500);
    /// The same of a path that there is reason to doubt.
    const LEAST_PATIENCE: Duration = Duration::from_millis(50);
    /// Time between two probes while there is suspicion.
    const PROBE: Duration = Duration::from_millis(150);
    /// How late a check can be before the machine must have slept: its silence then says nothing of the peer.
    const OVERSLEPT: Duration = Duration::from_secs(5);
    /// Time between two probes of a path that was given up, or that is in reserve.
    const SLOW_PROBE: Duration = Duration::from_secs(1);
    /// Each check counts one part in so many.
    const LOSS_WEIGHT: u32 = 64;
    /// How long a pair in reserve is asked in vain.
    const SPARE_PATIENCE: Duration = Duration::from_secs(5);

    /// Consent that began with an answer, and is kept from now on (RFC 7675 §5).
    pub(crate) fn new(answered_at: Instant, now: Instant, cadence: Cadence, random: &mut Random) -> Self {
        let gap = cadence.gap(random);
        let is_stale = cadence.duty != Duty::Passive && after(answered_at, gap) <= now;
        Self {
            health: PathHealth::Healthy,
            cadence,
            answered_at,
            since: if is_stale { now } else { answered_at },
            heard_at: answered_at,
            asked_at: answered_at,
            regular_at: after(now, gap),
            probe_at: None,
            unanswered_since: None,
            missing_at: None,
            is_doubted: false,
            is_urged: false,
            is_queued: false,
            hint: None,
            is_unreachable: false,
            is_cut: false,
            has_overslept: false,
            loss: 0,
            checks: 0,
        }
    }

    /// Watches the pair for something else. The next check is due as if that had been so since the last one; whether that is
    /// by now.
    pub(crate) fn set_cadence(&mut self, now: Instant, cadence: Cadence, random: &mut Random) -> bool {
        let is_other = self.cadence != cadence;
        if is_other {
            self.cadence = cadence;
            self.regular_at = after(self.asked_at, cadence.gap(random));
        }
        is_other && self.regular_at <= now
    }

    /// Whether the pair has to be asked at once, and is given time to answer: it was valid, and not in use, for so long
    /// that its answer says little.
    pub(crate) fn is_stale(&self) -> bool {
        self.since > self.answered_at
    }

    pub(crate) const fn health(&self) -> PathHealth {
        self.health
    }

    pub(crate) const fn answered_at(&self) -> Instant {
        self.answered_at
    }

    pub(crate) const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Since when checks have been sent in vain.
    pub(crate) const fn unanswered_since(&self) -> Option<Instant> {
        self.unanswered_since
    }

    /// Whether the host has said that the path does not work, and two probes since were not answered.
    pub(crate) const fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }

    /// Whether the host cannot send on it.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether there is reason to ask pairs in reserve: the first probe after a hint was not answered.
    pub(crate) fn needs_reserve(&self, now: Instant) -> bool {
        self.hint.is_some_and(|hint| hint.awaits_second()) && self.probe_at.is_some_and(|at| at <= now)
    }

    /// Share of the checks that were not answered in time, in thousandths; `None` while there were too few.
    pub(crate) fn loss(&self) -> Option<u16> {
        let is_known = self.checks >= 2 * Self::LOSS_WEIGHT;
        u16::try_from(self.loss / 1000).ok().filter(|_| is_known)
    }

    /// When data may not be sent any more unless an answer comes.
    pub(crate) fn expires_at(&self) -> Instant {
        after(self.answered_at.max(self.since), CONSENT_EXPIRY)
    }

    /// When the path is lost unless something is heard.
    fn lost_at(&self, detection: Duration) -> Instant {
        after(self.heard_at.max(self.since), detection)
    }

    /// When the pair is given up unless an answer comes; `None` while there is no suspicion.
    fn ends_at(&self) -> Option<Instant> {
        let is_suspect = self.health != PathHealth::Healthy;
        match self.cadence.duty {
            Duty::Active => Some(self.expires_at()),
            Duty::Idle => Some(self.expires_at()).filter(|_| is_suspect),
            Duty::Spare => self.unanswered_since.map(|since| after(since, Self::SPARE_PATIENCE)),
            Duty::Passive => None,
        }
    }

    /// When the health gets worse unless something is heard.
    pub(crate) fn next_state_at(&self, detection: Duration) -> Option<Instant> {
        match (self.health, self.cadence.duty) {
            (PathHealth::Healthy, Duty::Passive) => Some(after(self.heard_at, detection)),
            (_, Duty::Passive) => None,
            (PathHealth::Healthy, _) => self.missing_at,
            (PathHealth::Suspect, Duty::Spare) => self.ends_at(),
            (PathHealth::Suspect, _) => Some(self.lost_at(detection)),
            (PathHealth::Lost, _) => self.ends_at(),
        }
    }

    /// When [`advance`](Self::advance) has something to say.
    pub(crate) fn deadline(&self, detection: Duration) -> Option<Instant> {
        let change = self.next_state_at(detection);
        if self.cadence.duty == Duty::Passive {
            return change;
        }
        let check = earliest(Some(self.regular_at), self.probe_at).filter(|_| !self.is_queued);
        let hint = self.hint.and_then(|hint| hint.ends_at());
        earliest(earliest(check, change), earliest(self.ends_at(), hint))
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Instant, detection: Duration) -> Demand {
        if self.cadence.duty == Duty::Passive {
            if after(self.heard_at, detection) <= now {
                self.health = PathHealth::Lost;
            }
            return Demand::Nothing;
        }
        let due = earliest(Some(self.regular_at), self.probe_at).filter(|_| !self.is_queued && !self.has_overslept);
        if due.is_some_and(|at| after(at, Self::OVERSLEPT) <= now) {
            // The path gets one round of checks from now on. Until an answer comes, no data is sent.
            self.has_overslept = true;
            self.since = now;
            self.missing_at = None;
            self.unanswered_since = None;
            self.ask_at_once(now);
        }
        if self.ends_at().is_some_and(|at| at <= now) {
            return if self.cadence.duty == Duty::Spare { Demand::Lapsed } else { Demand::Expired };
        }
        if self.health == PathHealth::Healthy && self.missing_at.is_some_and(|at| at <= now) {
            self.health = PathHealth::Suspect;
            self.probe_at = Some(now);
            if self.cadence.duty == Duty::Idle {
                // Nobody asked before.
                self.since = self.since.max(self.unanswered_since.unwrap_or(now));
            }
        }
        if let Some(hint) = self.hint.as_mut().filter(|hint| hint.ends_at().is_some_and(|at| at <= now)) {
            hint.end();
            self.is_unreachable = self.health != PathHealth::Healthy;
        }
        let may_be_lost = self.cadence.duty != Duty::Spare && self.lost_at(detection) <= now;
        if self.health == PathHealth::Suspect && may_be_lost {
            self.health = PathHealth::Lost;
        }
        let is_due = self.regular_at <= now || self.probe_at.is_some_and(|at| at <= now);
        if is_due { Demand::Check } else { Demand::Nothing }
    }

    /// Records that a check was sent. The next regular one follows after a gap that is drawn anew, whatever becomes of
    /// this one (RFC 7675 §5.1).
    pub(crate) fn record_check(&mut self, now: Instant, round_trip: Option<Duration>, random: &mut Random) {
        if self.regular_at <= now {
            let is_urged = core::mem::take(&mut self.is_urged);
            self.regular_at = after(now, if is_urged { Self::PROBE } else { self.cadence.gap(random) });
        }
        let measured = round_trip.unwrap_or_default();
        let usual = measured.saturating_add(measured / 2);
        let patience = if self.is_doubted { usual.max(Self::LEAST_PATIENCE) } else { usual.max(Self::PATIENCE) };
        if self.answered_at >= self.asked_at {
            self.loss -= self.loss / Self::LOSS_WEIGHT;
            self.checks = self.checks.saturating_add(1);
        } else if after(self.asked_at, patience) <= now {
            self.loss += (1_000_000 - self.loss.min(1_000_000)) / Self::LOSS_WEIGHT;
            self.checks = self.checks.saturating_add(1);
        }
        self.asked_at = now;
        let is_first = self.unanswered_since.is_none();
        self.unanswered_since.get_or_insert(now);
        let is_hinted = self.hint.as_mut().and_then(|hint| hint.record_probe(now, patience)) == Some(1);
        // What nobody would have asked but for a hint may stay unanswered twice before it means anything.
        let missing_at = after(now, if is_hinted && is_first { patience.saturating_mul(2) } else { patience });
        self.missing_at = Some(self.missing_at.map_or(missing_at, |at| at.min(missing_at)));
        self.probe_at = match (self.health, self.cadence.duty) {
            (PathHealth::Healthy, _) => is_hinted.then_some(after(now, patience)),
            (PathHealth::Suspect, Duty::Active | Duty::Idle) => Some(after(now, Self::PROBE)),
            (PathHealth::Suspect, Duty::Spare | Duty::Passive) | (PathHealth::Lost, _) => {
                Some(after(now, Self::SLOW_PROBE))
            }
        };
    }

    /// Records an answer.
    pub(crate) const fn record_answer(&mut self, now: Instant) {
        self.answered_at = now;
        self.heard_at = now;
        self.unanswered_since = None;
        self.missing_at = None;
        self.probe_at = None;
        self.is_doubted = false;
        self.is_unreachable = false;
        self.is_cut = false;
        if let Some(hint) = self.hint.as_mut() {
            hint.end();
        }
        self.has_overslept = false;
        self.health = PathHealth::Healthy;
    }

    /// Wants a check now: something has made the path doubtful.
    pub(crate) const fn ask_at_once(&mut self, now: Instant) {
        self.regular_at = now;
    }

    /// Wants a check now, and an answer as soon as one can come: something speaks for another path.
    pub(crate) const fn doubt(&mut self, now: Instant) {
        self.is_doubted = true;
        self.ask_at_once(now);
    }

    /// How long nothing is heard before the peer's alarm is believed.
    const QUIET: Duration = Duration::from_millis(500);

    /// The same if nothing was heard for a moment: whoever probes in vain is heard by us if it still works in one direction.
    pub(crate) fn doubt_if_quiet(&mut self, now: Instant) {
        let is_quiet = after(self.heard_at, Self::QUIET) <= now;
        if is_quiet && self.health == PathHealth::Healthy && self.unanswered_since.is_none() {
            self.doubt(now);
        }
    }

    /// Wants two checks now, one soon after the other: the pair is needed, and the peer is to notice.
    pub(crate) const fn urge(&mut self, now: Instant) {
        self.is_urged = true;
        self.ask_at_once(now);
    }

    /// Whether a check of the peer that comes so long after the one before is more than its pace would have.
    pub(crate) fn is_unusual(&self, gap: Duration) -> bool {
        gap.saturating_mul(3) < self.cadence.least.saturating_mul(2)
    }

    /// Takes a hint of the host that the path does not work: it is probed, at the most one round a second.
    pub(crate) fn take_hint(&mut self, now: Instant) {
        if self.cadence.duty == Duty::Passive || self.health == PathHealth::Lost {
            return;
        }
        let Some(hint) = Hint::begin(self.hint, now) else { return };
        self.hint = Some(hint);
        if self.health == PathHealth::Healthy {
            self.ask_at_once(now);
        }
    }

    /// Records that the host cannot send on the path: it is lost, and asked for as if it were; `false` if that is known.
    #[must_use]
    pub(crate) fn cut(&mut self, now: Instant) -> bool {
        if core::mem::replace(&mut self.is_cut, true) {
            return false;
        }
        self.health = PathHealth::Lost;
        if self.cadence.duty != Duty::Passive {
            self.unanswered_since.get_or_insert(now);
            self.probe_at = Some(now);
        }
        true
    }

    /// Records that the connection of the path is gone: it is probed as soon as there is another one.
    pub(crate) fn suspect(&mut self, now: Instant) {
        if self.health == PathHealth::Healthy && self.cadence.duty != Duty::Passive {
            self.health = PathHealth::Suspect;
            self.probe_at = Some(now);
        }
    }

    /// Records another sign of life: it calms suspicion, and gives no consent.
    pub(crate) fn record_life(&mut self, now: Instant) {
        self.heard_at = now;
        if self.cadence.duty == Duty::Passive {
            self.answered_at = now;
            self.is_cut = false;
            self.health = PathHealth::Healthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seed;

    const BASE: Duration = Duration::from_secs(5);
    const DETECTION: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Instant {
        after(Instant::ZERO, Duration::from_millis(ms))
    }

    /// Looks at the clock, and sends a check if one is due: who does that in time has not slept.
    fn look(consent: &mut Consent, now: Instant, random: &mut Random) {
        if consent.advance(now, DETECTION) == Demand::Check {
            consent.record_check(now, None, random);
        }
    }

    /// Req: 7675-5.1-d
    #[test]
    fn ten_thousand_gaps_are_within_4_and_6_seconds_and_all_different() {
        let mut random = Random::new(&Seed::from_name("gaps"));
        let gaps: alloc::vec::Vec<_> = (0..10_000).map(|_| Cadence::active(BASE).gap(&mut random)).collect();
        assert!(gaps.iter().all(|gap| (Duration::from_secs(4)..=Duration::from_secs(6)).contains(gap)));
        let distinct: alloc::collections::BTreeSet<_> = gaps.iter().collect();
        assert!(distinct.len() > 9_990);
        assert!(gaps.iter().any(|gap| *gap < Duration::from_millis(4100)));
        assert!(gaps.iter().any(|gap| *gap > Duration::from_millis(5900)));
    }

    /// Req: 7675-5.1-b
    #[test]
    fn silence_is_suspect_then_lost_then_expired_and_an_answer_heals() {
        let mut random = Random::new(&Seed::from_name("health"));
        let mut consent = Consent::new(Instant::ZERO, Instant::ZERO, Cadence::active(BASE), &mut random);
        let first = consent.deadline(DETECTION).unwrap();
        assert!(first >= at(4000) && first <= at(6000));
        assert_eq!(consent.advance(first, DETECTION), Demand::Check);
        consent.record_check(first, None, &mut random);
        let missing = consent.deadline(DETECTION).unwrap();
        assert_eq!(missing, after(first, Duration::from_millis(500)));
        assert_eq!(consent.advance(missing, DETECTION), Demand::Check);
        assert_eq!(consent.health(), PathHealth::Suspect);
        consent.record_check(missing, None, &mut random);
        assert_eq!(consent.deadline(DETECTION), Some(after(missing, Duration::from_millis(150))));
        let _ = consent.advance(at(10_000), DETECTION);
        assert_eq!(consent.health(), PathHealth::Lost);
        consent.record_answer(at(10_001));
        assert_eq!(consent.health(), PathHealth::Healthy);
        for step in 21..80 {
            look(&mut consent, at(500 * step), &mut random);
        }
        assert_ne!(consent.advance(at(40_000), DETECTION), Demand::Expired);
        assert_eq!(consent.advance(at(40_001), DETECTION), Demand::Expired);
    }

    /// Req: 7675-5.1-l
    #[test]
    fn signs_of_life_put_off_the_loss_but_not_the_expiry() {
        let mut random = Random::new(&Seed::from_name("life"));
        let mut consent = Consent::new(Instant::ZERO, Instant::ZERO, Cadence::active(BASE), &mut random);
        consent.record_check(at(5000), None, &mut random);
        let _ = consent.advance(at(5500), DETECTION);
        for second in 6..30 {
            consent.record_life(at(1000 * second));
            look(&mut consent, at(1000 * second + 500), &mut random);
            assert_eq!(consent.health(), PathHealth::Suspect);
        }
        assert_eq!(consent.advance(at(30_000), DETECTION), Demand::Expired);
    }
}
