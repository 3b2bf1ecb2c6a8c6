//! An allocation against scripted answers: every request, every error.

mod asking;
mod hostile;
mod keeping;
mod peers;

use alloc::collections::BTreeMap;

use super::*;
use crate::stats::DropReason;
use crate::stun::server::ServerMessage;
use crate::stun::{Class, Integrity, IntegrityKey};
use crate::types::Seed;

const RTO: Duration = Duration::from_millis(500);

fn at(ms: u64) -> Instant {
    after(Instant::ZERO, Duration::from_millis(ms))
}

fn secs(secs: u64) -> Instant {
    at(1000 * secs)
}

fn relayed() -> SocketAddr {
    "198.51.100.9:49152".parse().unwrap()
}

fn mapped() -> SocketAddr {
    "203.0.113.7:5000".parse().unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// An allocation, and the part of its server.
#[derive(Clone)]
struct Bench {
    allocation: Allocation,
    random: Random,
    nonce: u32,
    key: IntegrityKey,
}

/// What the server says.
enum Say<'a> {
    Ok(&'a dyn Fn(&mut ServerWriter)),
    Error(u16),
    /// 401 and 438, with another nonce.
    Challenge(u16),
    Redirect(SocketAddr),
    /// What is signed with another key.
    Forged,
}

impl Bench {
    fn new(families: Families) -> Self {
        Self::with(families, false)
    }

    fn with(families: Families, is_stream: bool) -> Self {
        let schedule = Schedule { rc: 7, rm: 16, rto: RTO };
        let server = IpAddr::from([198, 51, 100, 9]);
        let terms = Terms { families, is_stream, server, schedule, software: "nilas".into() };
        Self {
            allocation: Allocation::new(Some(("user", "pass")), terms),
            random: Random::new(&Seed::from_name("turn")),
            nonce: 0,
            key: IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1),
        }
    }

    /// One that holds an allocation for 600 s since the beginning of time.
    fn held() -> Self {
        let mut bench = Self::new(Families::V4);
        bench.challenge(at(0));
        bench.grant(at(0), 600);
        bench.events();
        bench
    }

    fn start(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.allocation.start(now, &mut self.random, 1500).map(<[u8]>::to_vec)
    }

    fn answer(&mut self, now: Instant, request: &[u8], say: &Say<'_>) -> Result<(), DropReason> {
        let request = ServerMessage::read(request).unwrap();
        let class = if matches!(say, Say::Ok(_)) { Class::Success } else { Class::Error };
        let mut out = ServerWriter::new(class, request.method, request.id);
        let mut protection = Some((&self.key, Integrity::Sha1));
        let forged = IntegrityKey::long_term(b"user", b"realm", b"guess", Integrity::Sha1);
        match say {
            Say::Ok(fill) => fill(&mut out),
            Say::Error(code) => {
                out.put_error(*code, "scripted");
            }
            Say::Redirect(alternate) => {
                out.put_error(300, "there").put_alternate_server(*alternate);
            }
            Say::Forged => protection = Some((&forged, Integrity::Sha1)),
            Say::Challenge(code) => {
                self.nonce += 1;
                out.put_error(*code, "again").put(kinds::REALM, b"realm").put(kinds::NONCE, &self.nonce.to_be_bytes());
                protection = None;
            }
        }
        let bytes = out.finish(protection);
        self.allocation.handle_answer(now, &ServerMessage::read(&bytes).unwrap())
    }

    /// Lets the next request be answered.
    fn serve(&mut self, now: Instant, say: &Say<'_>) -> Vec<u8> {
        let request = self.start(now).expect("there is a request");
        self.answer(now, &request, say).unwrap();
        request
    }

    fn challenge(&mut self, now: Instant) {
        self.serve(now, &Say::Challenge(401));
    }

    fn grant(&mut self, now: Instant, lifetime: u32) -> Vec<u8> {
        self.serve(
            now,
            &Say::Ok(&|out| {
                out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                    .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped())
                    .put(kinds::LIFETIME, &lifetime.to_be_bytes());
            }),
        )
    }

    fn events(&mut self) -> Vec<TurnEvent> {
        core::iter::from_fn(|| self.allocation.poll_event()).collect()
    }

    /// Lets the server answer whatever it is asked in the same way until this instant, over a way without delay; gives how
    /// often it was asked by each method.
    fn badger(&mut self, from: Instant, until: Instant, say: &Say<'_>) -> BTreeMap<u16, usize> {
        let mut count = BTreeMap::new();
        let mut now = from;
        loop {
            for _ in 0..100 {
                let Some(request) = self.start(now) else { break };
                *count.entry(ServerMessage::read(&request).unwrap().method.number()).or_default() += 1;
                let _ = self.answer(now, &request, say);
            }
            match self.allocation.deadline().filter(|at| *at <= until) {
                Some(at) => now = now.max(at),
                None => return count,
            }
            self.allocation.expire(now);
        }
    }

    /// Runs by the deadlines until this instant; gives what is started and repeated, with the seconds.
    fn run(&mut self, until: Instant) -> Vec<(i64, Method, bool)> {
        let mut sent = Vec::new();
        let mut now = Instant::ZERO;
        loop {
            while let Some(bytes) = self.start(now) {
                sent.push((now.as_nanos() / 1_000_000, ServerMessage::read(&bytes).unwrap().method, true));
            }
            while let Some(bytes) = self.allocation.repeat(now).map(<[u8]>::to_vec) {
                sent.push((now.as_nanos() / 1_000_000, ServerMessage::read(&bytes).unwrap().method, false));
            }
            match self.allocation.deadline().filter(|at| *at <= until) {
                Some(at) => now = at,
                None => return sent,
            }
            self.allocation.expire(now);
        }
    }
}
