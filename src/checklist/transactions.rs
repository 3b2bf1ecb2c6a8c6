//! Transactions of checks: found by ID, repeated by RTO, given up in the end (RFC 8489 §6.2.1, RFC 8445 §14.3).

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use hashbrown::HashTable;

use crate::config::limits;
use crate::stun::TransactionId;
use crate::types::{
    Arena, CONSENT_EXPIRY, Handle, Instant, Kept, PairId, Renomination, Retransmission, Role, Schedule, Tiebreaker,
    after,
};

/// Names a transaction in its table. A key whose transaction is gone finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionKey {
    slot: u32,
    serial: u64,
}

impl TransactionKey {
    #[cfg(test)]
    pub(crate) const fn for_tests(serial: u64) -> Self {
        Self { slot: 0, serial }
    }
}

impl Handle for TransactionKey {
    fn new(slot: u32, serial: u64) -> Self {
        Self { slot, serial }
    }

    fn slot(self) -> u32 {
        self.slot
    }
}

/// Why a check is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To see whether the pair works.
    Check,
    /// To nominate a pair that works (RFC 8445 §8.1.1).
    Nomination,
    /// To see whether the peer still consents (RFC 7675).
    Consent,
    /// To see whether a pair that has failed works by now.
    Probe,
}

/// What a check says, chosen when it starts; sending it again gives the same bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) id: TransactionId,
    pub(crate) pair: PairId,
    pub(crate) purpose: Purpose,
    pub(crate) role: Role,
    pub(crate) tiebreaker: Tiebreaker,
    pub(crate) priority: u32,
    pub(crate) use_candidate: bool,
    /// The value of the nomination, where both sides know what that is.
    pub(crate) nomination: Option<(Renomination, u32)>,
    /// The generation of the stream, and which of its remote credentials it is sent with.
    pub(crate) generation: u32,
    pub(crate) peer: u8,
    /// Time from the first transmission to the next, doubled each time up to a cap.
    pub(crate) rto: Duration,
    /// The session depends on it, and answers come fast: its silence is looked at after half of that time, too.
    pub(crate) is_urgent: bool,
    /// It goes over TCP: once, and is waited for as long as for all transmissions together (RFC 8489 §6.2.2).
    pub(crate) is_reliable: bool,
}

/// A check that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    key: TransactionKey,
    pub(crate) start: Start,
    pub(crate) first_sent: Instant,
    /// It is not repeated and its silence means nothing, but its answer still counts (RFC 8445 §7.3.1.4).
    pub(crate) is_cancelled: bool,
    way: Retransmission,
    /// When it is repeated or given up; `None` while a repetition waits to be polled.
    due: Option<Instant>,
}

impl Kept for Transaction {
    type Id = TransactionKey;

    fn id(&self) -> TransactionKey {
        self.key
    }
}

impl Transaction {
    /// How often it was sent.
    pub(crate) const fn sent(&self) -> u32 {
        self.way.sent()
    }
}

/// What became due.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    /// The transaction is to be sent again.
    Repeat(TransactionKey),
    /// The transaction is over; it is no longer in the table.
    Expired(TransactionKey, Transaction),
}

/// All transactions of an agent.
#[derive(Clone, Debug)]
pub(crate) struct TransactionTable {
    schedule: Schedule,
    list: Arena<Transaction>,
    by_id: HashTable<u32>,
    /// One entry for each deadline, and entries of deadlines that no longer hold, which are skipped.
    timers: BinaryHeap<Reverse<(Instant, TransactionKey)>>,
}

impl TransactionTable {
    /// How many timers that no longer hold are let be in any case.
    const SPARE_TIMERS: usize = 64;

    pub(crate) const fn new(schedule: Schedule) -> Self {
        Self { schedule, list: Arena::new(), by_id: HashTable::new(), timers: BinaryHeap::new() }
    }

    /// Records a request whose first transmission leaves `now`.
    pub(crate) fn start(&mut self, now: Instant, start: &Start) -> TransactionKey {
        // Those are sent once, and their silence means nothing by itself.
        let is_single = matches!(start.purpose, Purpose::Consent | Purpose::Probe);
        let mut way = if is_single { Retransmission::single(CONSENT_EXPIRY) } else { self.way(start) };
        let wait = way.send(Duration::MAX);
        let is_looked_at = start.is_urgent && !is_single && !way.is_over();
        let due = after(now, if is_looked_at { wait / 2 } else { wait });
        self.store(|key| Transaction {
            key,
            start: *start,
            first_sent: now,
            is_cancelled: is_single,
            way,
            due: Some(due),
        })
    }

    /// Records a request that leaves once there is a connection for it.
    pub(crate) fn prepare(&mut self, now: Instant, start: &Start) -> TransactionKey {
        let way = self.way(start);
        self.store(|key| Transaction { key, start: *start, first_sent: now, is_cancelled: false, way, due: None })
    }

    /// Records that a request which was prepared leaves now; `None` if nobody wants it any more.
    pub(crate) fn launch(&mut self, now: Instant, key: TransactionKey) -> Option<&Transaction> {
        let transaction = self.get_mut(key).filter(|t| !t.is_cancelled && t.sent() == 0)?;
        let due = after(now, transaction.way.send(Duration::MAX));
        (transaction.first_sent, transaction.due) = (now, Some(due));
        self.arm(due, key);
        self.get(key)
    }

    /// Over TCP a request is sent once, and waited for as long as for all transmissions together (RFC 8489 §6.2.2).
    fn way(&self, start: &Start) -> Retransmission {
        match start.is_reliable {
            true => Retransmission::single(self.schedule.patience_with(start.rto)),
            false => self.schedule.begin(start.rto),
        }
    }

    fn store(&mut self, make: impl FnOnce(TransactionKey) -> Transaction) -> TransactionKey {
        if self.list.len() >= limits::TRANSACTIONS {
            self.forget_superseded();
        }
        let key = self.list.insert(make);
        let list = &self.list;
        let bits = |slot: u32| list.in_slot(slot).map_or(0, |one| one.start.id.bits());
        self.by_id.insert_unique(bits(key.slot), key.slot, |&slot| bits(slot));
        let due = list.get(key).and_then(|one| one.due);
        due.into_iter().for_each(|due| self.arm(due, key));
        key
    }

    /// Makes room: nobody waits for the answer of the oldest one that is not repeated.
    fn forget_superseded(&mut self) {
        let superseded = self.list.iter().filter(|one| one.is_cancelled);
        if let Some(oldest) = superseded.min_by_key(|one| one.first_sent).map(|one| one.key) {
            self.remove(oldest);
        }
    }

    pub(crate) fn get(&self, key: TransactionKey) -> Option<&Transaction> {
        self.list.get(key)
    }

    fn get_mut(&mut self, key: TransactionKey) -> Option<&mut Transaction> {
        self.list.get_mut(key)
    }

    /// The transaction with this ID.
    pub(crate) fn find(&self, id: TransactionId) -> Option<(TransactionKey, &Transaction)> {
        let is_it = |&slot: &u32| self.list.in_slot(slot).is_some_and(|one| one.start.id == id);
        let transaction = self.list.in_slot(*self.by_id.find(id.bits(), is_it)?)?;
        Some((transaction.key, transaction))
    }

    /// Ends a transaction.
    pub(crate) fn remove(&mut self, key: TransactionKey) -> Option<Transaction> {
        let transaction = self.take(key);
        self.drop_stale_timers();
        transaction
    }

    /// Ends all transactions but those of these pairs.
    pub(crate) fn keep(&mut self, which: impl Fn(PairId) -> bool) {
        let gone: Vec<TransactionKey> =
            self.list.iter().filter(|one| !which(one.start.pair)).map(|one| one.key).collect();
        for key in gone {
            self.take(key);
        }
        self.drop_stale_timers();
    }

    fn take(&mut self, key: TransactionKey) -> Option<Transaction> {
        let transaction = self.list.remove(key)?;
        if let Ok(found) = self.by_id.find_entry(transaction.start.id.bits(), |&slot| slot == key.slot) {
            found.remove();
        }
        Some(transaction)
    }

    /// Stops repeating a transaction; its answer is taken until the time at which it would have been given up.
    pub(crate) fn cancel(&mut self, key: TransactionKey) {
        let schedule = self.schedule;
        let Some(transaction) = self.get_mut(key).filter(|transaction| !transaction.is_cancelled) else { return };
        let end = after(transaction.first_sent, schedule.patience_with(transaction.start.rto));
        transaction.is_cancelled = true;
        transaction.due = Some(end);
        self.arm(end, key);
        self.drop_stale_timers();
    }

    /// Lets a transaction for which a [`Due::Repeat`] came be waited for until then.
    pub(crate) fn wait_until(&mut self, key: TransactionKey, at: Instant) {
        if let Some(transaction) = self.get_mut(key).filter(|t| !t.is_cancelled && t.due.is_none()) {
            transaction.due = Some(at);
            self.arm(at, key);
        }
    }

    /// The transaction to send again for a [`Due::Repeat`], unless it is over or cancelled by now; the next interval is at
    /// most `cap`.
    pub(crate) fn repeat(&mut self, now: Instant, key: TransactionKey, cap: Duration) -> Option<&Transaction> {
        let transaction = self.get_mut(key).filter(|t| !t.is_cancelled && t.due.is_none())?;
        let due = after(now, transaction.way.send(cap));
        transaction.due = Some(due);
        self.arm(due, key);
        self.get(key)
    }

    /// The next thing that is due by `now`.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<Due> {
        self.drop_stale_timers();
        let &Reverse((_, key)) = self.timers.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.timers.pop();
        let transaction = self.get_mut(key)?;
        if transaction.is_cancelled || transaction.way.is_over() {
            let transaction = self.take(key)?;
            self.drop_stale_timers();
            return Some(Due::Expired(key, transaction));
        }
        transaction.due = None;
        self.drop_stale_timers();
        Some(Due::Repeat(key))
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Number of transactions.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All transactions.
    #[cfg(feature = "sim")]
    pub(crate) fn live(&self) -> impl Iterator<Item = (TransactionKey, &Transaction)> {
        self.list.iter().map(|one| (one.key, one))
    }

    /// Counts the indexes anew from the transactions; says what differs from them.
    #[cfg(feature = "sim")]
    pub(crate) fn audit(&self) -> Result<(), alloc::string::String> {
        use alloc::format;
        self.list.audit().map_err(|what| format!("the transactions: {what}"))?;
        for transaction in self.list.iter() {
            let key = transaction.key;
            if self.find(transaction.start.id).map(|(found, _)| found) != Some(key) {
                return Err(format!("the transaction {key:?} is not found"));
            }
            let has_timer = |due: &Instant| self.timers.iter().any(|Reverse(timer)| *timer == (*due, key));
            if transaction.due.is_some_and(|due| !has_timer(&due)) {
                return Err(format!("the transaction {key:?} has no timer"));
            }
        }
        let live = self.list.len();
        if self.by_id.len() != live {
            return Err(format!("{} transactions have an ID, and there are {live}", self.by_id.len()));
        }
        let first = self.list.iter().filter_map(|one| one.due).min();
        if self.deadline() != first {
            return Err(format!("the transactions are due at {:?}, and the first is at {first:?}", self.deadline()));
        }
        Ok(())
    }

    /// Adds a timer. Those that no longer hold are dropped once they are more than half of all: a check over TCP that was
    /// answered at once leaves one of 39.5 s.
    fn arm(&mut self, at: Instant, key: TransactionKey) {
        self.timers.push(Reverse((at, key)));
        if self.timers.len() > 2 * self.by_id.len() + Self::SPARE_TIMERS {
            let list = &self.list;
            self.timers.retain(|Reverse((at, key))| list.get(*key).is_some_and(|one| one.due == Some(*at)));
        }
    }

    /// Keeps the first timer that of a live transaction, so that `deadline` tells the truth.
    fn drop_stale_timers(&mut self) {
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if self.get(key).is_some_and(|transaction| transaction.due == Some(at)) {
                break;
            }
            self.timers.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Random, Seed};

    const RTO: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(60);

    fn table(rc: u8, rm: u32) -> (TransactionTable, Random) {
        (TransactionTable::new(Schedule { rc, rm, rto: RTO }), Random::new(&Seed::from_name("transactions")))
    }

    fn start(table: &mut TransactionTable, random: &mut Random, now: Instant) -> TransactionKey {
        let start = Start {
            id: TransactionId::draw(random),
            pair: PairId { serial: 1, slot: 0 },
            purpose: Purpose::Check,
            role: Role::Controlling,
            tiebreaker: Tiebreaker::new(1),
            priority: 1,
            use_candidate: false,
            nomination: None,
            generation: 0,
            peer: 0,
            rto: RTO,
            is_urgent: false,
            is_reliable: false,
        };
        table.start(now, &start)
    }

    /// Runs the table by its own deadlines; gives the milliseconds of all transmissions and of the end.
    fn run(table: &mut TransactionTable) -> (Vec<i64>, i64) {
        let mut sent = Vec::from([0]);
        loop {
            let now = table.deadline().expect("the transaction is alive");
            match table.poll_due(now).expect("the deadline was reached") {
                Due::Repeat(key) => {
                    if table.repeat(now, key, CAP).is_some() {
                        sent.push(now.as_nanos() / 1_000_000);
                    }
                }
                Due::Expired(..) => return (sent, now.as_nanos() / 1_000_000),
            }
        }
    }

    /// Req: 8489-6.2.1-a
    #[test]
    fn an_unanswered_request_follows_the_schedule_of_the_rfc() {
        let (mut table, mut random) = table(7, 16);
        start(&mut table, &mut random, Instant::ZERO);
        assert_eq!(run(&mut table), (Vec::from([0, 500, 1500, 3500, 7500, 15500, 31500]), 39500));
        assert_eq!((table.len(), table.deadline()), (0, None));
    }

    /// Req: 8445-7.3.1.4-c
    #[test]
    fn a_cancelled_request_is_not_repeated_but_lives_as_long() {
        let (mut table, mut random) = table(7, 16);
        let key = start(&mut table, &mut random, Instant::ZERO);
        table.cancel(key);
        assert_eq!(run(&mut table), (Vec::from([0]), 39500));
    }

    #[test]
    fn cancelling_a_request_whose_repetition_waits_to_be_sent_stops_it() {
        let (mut table, mut random) = table(7, 16);
        let key = start(&mut table, &mut random, Instant::ZERO);
        let at = table.deadline().unwrap();
        assert!(matches!(table.poll_due(at), Some(Due::Repeat(due)) if due == key));
        table.cancel(key);
        assert!(table.repeat(at, key, CAP).is_none());
        assert_eq!(table.deadline(), Some(after(Instant::ZERO, Duration::from_millis(39500))));
    }

    #[test]
    fn a_removed_request_leaves_no_deadline_and_a_used_slot_no_trace() {
        let (mut table, mut random) = table(7, 16);
        let first = start(&mut table, &mut random, Instant::ZERO);
        let id = table.get(first).unwrap().start.id;
        assert_eq!(table.find(id).map(|(key, _)| key), Some(first));
        assert!(table.remove(first).is_some() && table.remove(first).is_none());
        assert_eq!((table.deadline(), table.find(id).is_none()), (None, true));
        let second = start(&mut table, &mut random, Instant::ZERO);
        assert!(first != second && table.get(first).is_none() && table.get(second).is_some());
    }

    #[test]
    fn a_late_poll_repeats_once_and_counts_from_there() {
        let (mut table, mut random) = table(7, 16);
        let key = start(&mut table, &mut random, Instant::ZERO);
        let hour = after(Instant::ZERO, Duration::from_secs(3600));
        assert!(matches!(table.poll_due(hour), Some(Due::Repeat(due)) if due == key));
        assert!(table.repeat(hour, key, CAP).is_some());
        assert!(table.poll_due(hour).is_none());
        assert_eq!(table.deadline(), Some(after(hour, Duration::from_secs(1))));
    }

    #[test]
    fn of_too_many_transactions_the_oldest_that_is_superseded_goes_and_none_that_is_not() {
        let (mut table, mut random) = table(7, 16);
        let now = Instant::ZERO;
        let live = start(&mut table, &mut random, now);
        let mut keys = Vec::new();
        for number in 0..u32::try_from(limits::TRANSACTIONS).unwrap() + 10 {
            let key = start(&mut table, &mut random, after(now, Duration::from_millis(number.into())));
            table.cancel(key);
            keys.push(key);
            assert!(table.len() <= limits::TRANSACTIONS);
            assert!(table.timers.len() <= 2 * table.len() + TransactionTable::SPARE_TIMERS);
        }
        let gone = keys.iter().take_while(|key| table.get(**key).is_none()).count();
        assert_eq!((gone, table.len()), (11, limits::TRANSACTIONS));
        assert!(keys.iter().skip(gone).all(|key| table.get(*key).is_some()) && table.get(live).is_some());
    }

    #[test]
    fn timers_that_no_longer_hold_are_no_more_than_those_that_do() {
        let (mut table, mut random) = table(7, 16);
        let kept = start(&mut table, &mut random, Instant::ZERO);
        let deadline = table.deadline();
        for _ in 0..10_000 {
            let key = start(&mut table, &mut random, Instant::ZERO);
            table.remove(key);
            assert!(table.timers.len() <= 4 + TransactionTable::SPARE_TIMERS, "{}", table.timers.len());
        }
        assert_eq!((table.deadline(), table.len(), table.get(kept).is_some()), (deadline, 1, true));
    }

    #[test]
    fn a_single_transmission_waits_for_its_answer_only() {
        let (mut table, mut random) = table(1, 16);
        start(&mut table, &mut random, Instant::ZERO);
        assert_eq!(run(&mut table), (Vec::from([0]), 8000));
    }
}
