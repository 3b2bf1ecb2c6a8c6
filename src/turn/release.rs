//! The end of an allocation: given back, lost with its connection, or over (RFC 8656 §8).

use alloc::string::String;
use core::time::Duration;

use super::{Allocation, Exchange, Purpose, Releasing, State, TurnEvent, Wish};
use crate::types::{Instant, Retransmission, after};

impl Allocation {
    /// Tells the server that the allocation is not needed any more. `Released` follows, at the latest after
    /// [`Self::RELEASE_WITHIN`].
    pub(crate) fn release(&mut self, now: Instant) {
        self.release_for(now, None);
    }

    pub(super) fn release_for(&mut self, now: Instant, reason: Option<(u16, String)>) {
        // An Allocate that the server has answered in the meantime leaves an allocation, too.
        let is_asking = |one: &Exchange| one.is_signed && matches!(one.wish.purpose, Purpose::Allocate(_));
        self.exchanges.retain(|one| is_asking(one));
        let is_needed = match &self.state {
            State::Held(_) => true,
            State::Asking => !self.exchanges.is_empty(),
            State::Releasing(_) | State::Over => return,
        };
        for asking in &mut self.exchanges {
            // It is not sent again. Its answer is waited for as long as that to the release.
            asking.way = Retransmission::single(self.terms.schedule.rto.saturating_mul(3));
            asking.due = Some(after(now, asking.way.send(Duration::MAX)));
        }
        self.wishes.clear();
        self.begin_release(now, reason);
        if !is_needed {
            self.finish_release();
        }
    }

    pub(super) fn begin_release(&mut self, now: Instant, reason: Option<(u16, String)>) {
        let until = after(now, Self::RELEASE_WITHIN);
        self.state = State::Releasing(Releasing { reason, until, is_allocated_since: false });
        self.wishes.push_back(Wish::new(Purpose::Release));
    }

    /// The server has allocated what is to be given back. The release may have reached it earlier, in vain.
    pub(super) fn release_again(&mut self) {
        let State::Releasing(releasing) = &mut self.state else { return };
        releasing.is_allocated_since = true;
        self.go_on_releasing();
    }

    /// Ends the release if nothing is under way any more, or releases what the server has allocated since.
    pub(super) fn go_on_releasing(&mut self) {
        let State::Releasing(releasing) = &mut self.state else { return };
        if !self.exchanges.is_empty() || !self.wishes.is_empty() {
            return;
        }
        if core::mem::take(&mut releasing.is_allocated_since) {
            self.wishes.push_back(Wish::new(Purpose::Release));
        } else {
            self.finish_release();
        }
    }

    pub(super) fn finish_release(&mut self) {
        let State::Releasing(Releasing { reason, .. }) = core::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        self.clear();
        self.events.push_back(match reason {
            None => TurnEvent::Released,
            Some((code, text)) => TurnEvent::Lost { code, text },
        });
    }

    /// The way to the server is gone, and with it the allocation.
    pub(crate) fn disconnect(&mut self) {
        match self.state {
            State::Asking => self.fail(Self::UNREACHABLE, "connection lost".into()),
            State::Held(_) => self.lose(Self::UNREACHABLE, "connection lost".into()),
            State::Releasing(_) => self.finish_release(),
            State::Over => {}
        }
    }
}
