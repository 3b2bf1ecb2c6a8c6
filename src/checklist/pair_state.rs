//! The state of a candidate pair on a checklist: every state, every move (RFC 8445 §6.1.2.6).
//!
//! ```text
//!            unfreeze            start               succeed
//!   Frozen ----------> Waiting ---------> InProgress --------> Succeeded
//!      |                ^   ^                |  |                  |
//!      +----- trigger --+   +---- trigger ---+  +---- fail ----+   | fail (a nomination that got no answer)
//!                       |                                      v   v
//!                       +--------------- trigger ------------- Failed
//! ```

use crate::checklist::TransactionKey;

/// State of a candidate pair, as the WebRTC statistics name it (RFC 8445 §6.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8445 closes the set")]
pub enum CandidatePairState {
    /// No check was sent, and none may be until a pair of the same foundation is done.
    Frozen,
    /// No check was sent yet; one is when its turn comes.
    Waiting,
    /// A check was sent and is not answered.
    InProgress,
    /// A check was answered.
    Succeeded,
    /// The check got no usable answer.
    Failed,
}

/// State of a candidate pair. Changed only in this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairState(Inner);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    Frozen,
    Waiting,
    InProgress(TransactionKey),
    Succeeded,
    Failed,
}

impl PairState {
    pub(crate) const FROZEN: Self = Self(Inner::Frozen);
    /// The state of a pair that was made valid by the check of another one (RFC 8445 §7.2.5.3.2).
    pub(crate) const SUCCEEDED: Self = Self(Inner::Succeeded);

    pub(crate) const fn get(self) -> CandidatePairState {
        match self.0 {
            Inner::Frozen => CandidatePairState::Frozen,
            Inner::Waiting => CandidatePairState::Waiting,
            Inner::InProgress(_) => CandidatePairState::InProgress,
            Inner::Succeeded => CandidatePairState::Succeeded,
            Inner::Failed => CandidatePairState::Failed,
        }
    }

    /// The check in progress.
    pub(crate) const fn transaction(self) -> Option<TransactionKey> {
        match self.0 {
            Inner::InProgress(key) => Some(key),
            Inner::Frozen | Inner::Waiting | Inner::Succeeded | Inner::Failed => None,
        }
    }

    /// Lets a frozen pair be checked.
    #[must_use]
    pub(crate) const fn unfreeze(&mut self) -> bool {
        let Inner::Frozen = self.0 else { return false };
        self.0 = Inner::Waiting;
        true
    }

    /// Wants a new check of any pair that has not succeeded (RFC 8445 §7.3.1.4).
    #[must_use]
    pub(crate) const fn trigger(&mut self) -> bool {
        if matches!(self.0, Inner::Succeeded | Inner::Waiting) {
            return false;
        }
        self.0 = Inner::Waiting;
        true
    }

    /// Records that a check was sent; `false` if none may start in this state.
    #[must_use]
    pub(crate) const fn start(&mut self, key: TransactionKey) -> bool {
        let Inner::Waiting = self.0 else { return false };
        self.0 = Inner::InProgress(key);
        true
    }

    /// Records an answer. Late ones count, too: to a check that was given up for a newer one, or after a failure.
    #[must_use]
    pub(crate) const fn succeed(&mut self) -> bool {
        if matches!(self.0, Inner::Frozen | Inner::Succeeded) {
            return false;
        }
        self.0 = Inner::Succeeded;
        true
    }

    /// Gives up on a check that cannot be sent.
    #[must_use]
    pub(crate) const fn abandon(&mut self) -> bool {
        let Inner::Waiting = self.0 else { return false };
        self.0 = Inner::Failed;
        true
    }

    /// Records that there will be no usable answer, or that the pair is dropped.
    #[must_use]
    pub(crate) const fn fail(&mut self) -> bool {
        if matches!(self.0, Inner::Failed) {
            return false;
        }
        self.0 = Inner::Failed;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// Req: 8445-6.1.2.6-a
    #[test]
    fn pairs_move_only_as_the_table_says() {
        let key = TransactionKey::for_tests(7);
        let moves: [fn(&mut PairState) -> bool; 5] = [
            PairState::unfreeze,
            PairState::trigger,
            |state| state.start(TransactionKey::for_tests(7)),
            PairState::succeed,
            PairState::fail,
        ];
        let letter = |state: PairState| match state.get() {
            CandidatePairState::Frozen => 'Z',
            CandidatePairState::Waiting => 'W',
            CandidatePairState::InProgress => 'I',
            CandidatePairState::Succeeded => 'S',
            CandidatePairState::Failed => 'F',
        };
        let rows =
            [Inner::Frozen, Inner::Waiting, Inner::InProgress(key), Inner::Succeeded, Inner::Failed].map(|from| {
                moves
                    .iter()
                    .map(|step| {
                        let mut state = PairState(from);
                        if step(&mut state) { letter(state) } else { '.' }
                    })
                    .collect::<String>()
            });
        // Columns: unfreeze, trigger, start, succeed, fail. Rows: Frozen, Waiting, InProgress, Succeeded, Failed.
        assert_eq!(rows, ["WW..F", "..ISF", ".W.SF", "....F", ".W.S."]);
    }
}
