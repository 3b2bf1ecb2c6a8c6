//! What the answers of a server mean, and what becomes of a try that has none (RFC 8656 §7, RFC 8489 §9.2).

use alloc::string::String;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use smallvec::SmallVec;

use super::auth::{self, Verdict};
use super::backoff::Backoff;
use super::{Allocation, Exchange, Families, Holding, Purpose, State, TurnEvent, Wish, method, refresh_at};
use crate::candidate::address::judge;
use crate::stats::DropReason;
use crate::stun::Class;
use crate::stun::server::{ServerMessage, kinds};
use crate::types::{Instant, after};

impl Allocation {
    /// Takes an answer of the server.
    pub(crate) fn handle_answer(&mut self, now: Instant, message: &ServerMessage<'_>) -> Result<(), DropReason> {
        if matches!(message.class, Class::Request | Class::Indication) {
            return Err(DropReason::UnknownMethod);
        }
        let is_it = |exchange: &Exchange| exchange.id == message.id && method(&exchange.wish.purpose) == message.method;
        let place = self.exchanges.iter().position(is_it).ok_or(DropReason::UnknownTransaction)?;
        let was_signed = self.exchanges.get(place).is_some_and(|exchange| exchange.is_signed);
        let verdict = self.auth.judge(message, was_signed);
        if verdict == Verdict::Drop && !self.terms.is_stream {
            return Err(DropReason::BadIntegrity);
        }
        let Exchange { mut wish, first_sent, .. } = self.exchanges.remove(place);
        let error = || message.error().map_or((500, String::new()), |(code, text)| (code, auth::bounded(text)));
        match verdict {
            Verdict::Believe if message.class == Class::Success => self.succeed(now, wish, first_sent, message),
            Verdict::Believe => {
                let (code, text) = error();
                self.refuse(now, wish, code, text, message.alternate_server());
            }
            // What is to be given back is not asked for again.
            Verdict::Retry { .. } if self.is_releasing() && wish.purpose != Purpose::Release => self.go_on_releasing(),
            Verdict::Retry { is_new_realm } => {
                let (code, text) = error();
                if wish.may_retry(code, was_signed, is_new_realm) {
                    self.wishes.push_front(wish);
                } else {
                    self.auth.give_up();
                    self.fail_try(now, wish, code, text);
                }
            }
            Verdict::Refused(code @ (401 | 438), text) => self.fail_try(now, wish, code, text),
            Verdict::Refused(code, text) => self.refuse(now, wish, code, text, None),
            // Over a stream no other answer will come (RFC 8489 §9.2.5).
            Verdict::Drop => {
                self.fail_try(now, wish, Self::UNREACHABLE, "no answer that can be believed".into());
                return Err(DropReason::BadIntegrity);
            }
        }
        Ok(())
    }

    /// Takes an ICMP message that the server reports.
    pub(crate) fn handle_icmp(&mut self, now: Instant, peer: SocketAddr, kind: u8, code: u8) -> Result<(), DropReason> {
        if !self.is_permitted(now, peer.ip()) {
            return Err(DropReason::UnvalidatedSource);
        }
        if self.events.len() < Self::MAX_EVENTS {
            self.events.push_back(TurnEvent::Icmp { peer, kind, code });
        }
        Ok(())
    }

    pub(super) fn succeed(&mut self, now: Instant, wish: Wish, asked_at: Instant, message: &ServerMessage<'_>) {
        let lifetime = message.number(kinds::LIFETIME).map(|secs| Duration::from_secs(secs.into()));
        let lifetime = lifetime.unwrap_or(Self::DEFAULT_LIFETIME).min(Self::MOST_LIFETIME);
        match wish.purpose {
            Purpose::Allocate(_) if self.is_releasing() => self.release_again(),
            Purpose::Allocate(families) => self.hold(now, families, asked_at, lifetime, message),
            Purpose::Refresh => {
                if let State::Held(holding) = &mut self.state {
                    holding.expires_at = after(asked_at, lifetime);
                    holding.refreshed_at = asked_at;
                    holding.refresh_at = Some(refresh_at(asked_at, lifetime));
                    holding.backoff = Backoff::default();
                }
            }
            Purpose::Release => self.finish_release(),
            Purpose::Permit(ips) => {
                for ip in ips {
                    let is_new = !self.permissions.holds(now, ip);
                    self.permissions.install(ip, asked_at);
                    if is_new {
                        self.events.push_back(TurnEvent::Permitted(ip));
                    }
                }
            }
            Purpose::Bind(number, peer) => {
                self.channels.bind(number, asked_at);
                self.permissions.install(peer.ip(), asked_at);
            }
        }
    }

    pub(super) fn hold(
        &mut self,
        now: Instant,
        families: Families,
        asked_at: Instant,
        lifetime: Duration,
        message: &ServerMessage<'_>,
    ) {
        let mapped = message.xor_address(kinds::XOR_MAPPED_ADDRESS);
        let mut relayed: SmallVec<[SocketAddr; 2]> = SmallVec::new();
        for address in message.xor_addresses(kinds::XOR_RELAYED_ADDRESS) {
            let is_wanted = match families {
                Families::V4 => address.is_ipv4(),
                Families::V6 => address.is_ipv6(),
                Families::Both => true,
            };
            let is_second = relayed.iter().any(|known| known.is_ipv4() == address.is_ipv4());
            if is_wanted && !is_second && address.port() != 0 && judge(address.ip(), self.terms.server).is_ok() {
                relayed.push(address);
            }
        }
        let (Some(mapped), false) = (mapped, relayed.is_empty()) else {
            // Nothing to use: given back, and not tried again (RFC 8656 §7.3).
            self.begin_release(now, Some((0, "unusable allocation".into())));
            return;
        };
        if let Some((family, code)) = message.address_error() {
            self.events.push_back(TurnEvent::FamilyRefused { family, code });
        }
        let (expires_at, refresh_at) = (after(asked_at, lifetime), Some(refresh_at(asked_at, lifetime)));
        let expires_at = expires_at.max(now);
        let (refreshed_at, backoff) = (asked_at, Backoff::default());
        self.state = State::Held(Holding { relayed: relayed.clone(), expires_at, refreshed_at, refresh_at, backoff });
        self.events.push_back(TurnEvent::Allocated { relayed, mapped });
    }

    /// The server does not do what it was asked for (RFC 8656 §7.4, §8.3, §10.3, §12.3).
    pub(super) fn refuse(&mut self, now: Instant, wish: Wish, code: u16, text: String, alternate: Option<SocketAddr>) {
        match wish.purpose {
            Purpose::Allocate(_) if self.is_releasing() => self.go_on_releasing(),
            Purpose::Allocate(families) => match (code, alternate) {
                (300, Some(alternate)) => {
                    self.state = State::Over;
                    self.clear();
                    self.events.push_back(TurnEvent::Redirected(alternate));
                }
                // It may have one of the two, or not know the attribute.
                (440 | 420, _) if families == Families::Both => {
                    self.events.push_back(TurnEvent::FamilyRefused { family: 2, code });
                    self.wishes.push_front(Wish { purpose: Purpose::Allocate(Families::V4), ..wish });
                }
                _ => self.fail(code, text),
            },
            Purpose::Refresh if matches!(code, 437 | 441) => self.lose(code, text),
            Purpose::Refresh => self.refresh_again(now),
            // 437 says that it is gone already (RFC 8656 §8.1), or not there yet.
            Purpose::Release => self.go_on_releasing(),
            Purpose::Permit(_) | Purpose::Bind(..) if code == 437 => self.lose(code, text),
            Purpose::Permit(ips) if ips.len() > 1 => self.permissions.ask_alone(&ips),
            // The server has a problem of its own, which may pass (RFC 8489 §6.3.4).
            Purpose::Permit(_) if (500..600).contains(&code) => self.fail_try(now, wish, code, text),
            Purpose::Permit(ips) => self.refuse_permissions(&ips, code),
            // The server and we have lost each other (RFC 8656 §12.3).
            Purpose::Bind(..) if code == 400 => self.release_for(now, Some((code, text))),
            Purpose::Bind(number, peer) => {
                self.channels.refuse(now, number);
                if code == 403 {
                    self.refuse_permissions(&[peer.ip()], code);
                }
            }
        }
    }

    pub(super) fn refuse_permissions(&mut self, ips: &[IpAddr], code: u16) {
        for ip in ips {
            self.permissions.refuse(*ip);
            self.events.push_back(TurnEvent::Refused { ip: *ip, code });
        }
    }

    pub(super) fn refresh_again(&mut self, now: Instant) {
        if let State::Held(holding) = &mut self.state {
            holding.refresh_at = Some(after(now, holding.backoff.next(Self::REFRESH_AGAIN)));
        }
    }

    /// A request has failed for reasons that need not be those of the server: it is made again some time later.
    pub(super) fn fail_try(&mut self, now: Instant, wish: Wish, code: u16, text: String) {
        match wish.purpose {
            Purpose::Allocate(_) if self.is_releasing() => return self.go_on_releasing(),
            Purpose::Allocate(_) => return self.fail(code, text),
            // There was but one thing to say.
            Purpose::Release => return self.go_on_releasing(),
            Purpose::Refresh => self.refresh_again(now),
            Purpose::Permit(ips) => {
                for ip in ips {
                    if !self.permissions.postpone(now, ip) {
                        self.events.push_back(TurnEvent::Refused { ip, code });
                    }
                }
            }
            Purpose::Bind(number, _) => self.channels.ask_again(now, number, false),
        }
        self.events.push_back(TurnEvent::Trouble { code, text });
    }

    /// No answer came in time.
    pub(super) fn time_out(&mut self, now: Instant, wish: Wish) {
        match wish.purpose {
            Purpose::Allocate(_) if self.is_releasing() => self.go_on_releasing(),
            Purpose::Allocate(_) => self.fail(Self::UNREACHABLE, "no answer".into()),
            // There may be time for another one.
            Purpose::Refresh => self.refresh_again(now),
            Purpose::Release => self.go_on_releasing(),
            Purpose::Permit(ips) => {
                for ip in ips {
                    if self.permissions.holds(now, ip) {
                        // There is time for another request.
                        self.permissions.ask_alone(&[ip]);
                    } else {
                        self.permissions.forget(ip);
                        self.events.push_back(TurnEvent::Refused { ip, code: Self::UNREACHABLE });
                    }
                }
            }
            Purpose::Bind(number, _) => self.channels.ask_again(now, number, true),
        }
    }
}
