//! Long-term credentials: realm, nonce, and which answers are believed (RFC 8489 §9.2).

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::config::limits;
use crate::stun::server::{ServerMessage, ServerWriter, kinds};
use crate::stun::{Class, Integrity, IntegrityKey, userhash};

/// What to make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the server's.
    Believe,
    /// The server wants the request again, with what it has told about itself; whether that is a realm that it was not
    /// asked in.
    Retry { is_new_realm: bool },
    /// The server refuses: nothing that could be tried again.
    Refused(u16, String),
    /// It may come from anybody.
    Drop,
}

/// Who asks.
#[derive(Clone)]
struct User {
    name: Box<str>,
    password: Box<str>,
}

/// The credentials of a user with one server, and what the server has told.
///
/// Errors 401 and 438 have no integrity, so that anybody may have made up the realm and the nonce in them. What they say is
/// tried, and what an authenticated answer has confirmed before stays beside it, until one confirms the new.
#[derive(Clone)]
pub(crate) struct Auth {
    /// `None` for a guest, whom the server has to serve without credentials.
    user: Option<User>,
    /// The most bytes that this may add to a request.
    room: usize,
    confirmed: Option<Session>,
    tried: Option<Session>,
}

#[derive(Clone)]
struct Session {
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    /// PASSWORD-ALGORITHMS as the server sent it, to be echoed; empty if it has none.
    algorithms: Box<[u8]>,
    /// How the key is made of the password.
    algorithm: Integrity,
    /// How messages are protected.
    integrity: Integrity,
    key: IntegrityKey,
    userhash: Option<[u8; 32]>,
}

impl Session {
    fn verifies(&self, message: &ServerMessage<'_>) -> bool {
        message.is_genuine(&self.key, self.integrity)
    }
}

impl Auth {
    /// Of a user; without one, of a guest. No request gets more than `room` bytes longer by it.
    pub(crate) fn new(user: Option<(&str, &str)>, room: usize) -> Self {
        let user = user.map(|(name, password)| User { name: name.into(), password: password.into() });
        Self { user, room, confirmed: None, tried: None }
    }

    const fn session(&self) -> Option<&Session> {
        match &self.tried {
            Some(session) => Some(session),
            None => self.confirmed.as_ref(),
        }
    }

    /// Whether requests are such that the server may serve them: the first one to a server has no credentials
    /// (RFC 8489 §9.2.3.1), unless they never have any.
    pub(crate) const fn is_ready(&self) -> bool {
        self.session().is_some() || self.user.is_none()
    }

    /// How many bytes this adds to a request.
    pub(crate) fn added(&self) -> usize {
        let name = self.user.as_ref().map_or(0, |user| user.name.len());
        self.session()
            .map_or(0, |one| added(name, &one.realm, &one.nonce, &one.algorithms, one.integrity, one.userhash))
    }

    /// Completes a request: user, realm, nonce and integrity, once the server has told about itself.
    pub(crate) fn sign(&self, mut out: ServerWriter) -> alloc::vec::Vec<u8> {
        let Some((session, user)) = self.session().zip(self.user.as_ref()) else { return out.finish(None) };
        match &session.userhash {
            Some(hash) => out.put(kinds::USERHASH, hash),
            None => out.put(kinds::USERNAME, user.name.as_bytes()),
        };
        out.put(kinds::REALM, &session.realm).put(kinds::NONCE, &session.nonce);
        if !session.algorithms.is_empty() {
            let number = if session.algorithm == Integrity::Sha256 { SHA256 } else { MD5 };
            let [n1, n2] = number.to_be_bytes();
            out.put(kinds::PASSWORD_ALGORITHMS, &session.algorithms).put(kinds::PASSWORD_ALGORITHM, &[n1, n2, 0, 0]);
        }
        out.finish(Some((&session.key, session.integrity)))
    }

    /// Judges the answer to a request that had credentials, or had none (RFC 8489 §9.2.5).
    ///
    /// Errors 401 and 438 have no integrity. All else has to have it, but for final errors to a request that had no
    /// credentials: no key is agreed by then. Redirections and 400 are never believed without. A guest has nothing but the
    /// transaction ID to go by, and follows no redirection.
    pub(crate) fn judge(&mut self, message: &ServerMessage<'_>, was_signed: bool) -> Verdict {
        let error = message.error();
        if self.user.is_none() {
            return match (message.class, error) {
                (Class::Error, Some((code @ (300 | 401 | 438), text))) => Verdict::Refused(code, bounded(text)),
                (Class::Success | Class::Error, _) => Verdict::Believe,
                (Class::Request | Class::Indication, _) => Verdict::Drop,
            };
        }
        let is_genuine = self.verify(message);
        match (message.class, error) {
            (Class::Error, Some((code @ (401 | 438), text))) => {
                if code == 438 && !was_signed {
                    return Verdict::Drop;
                }
                match self.take_challenge(message) {
                    Ok(is_new_realm) => Verdict::Retry { is_new_realm },
                    Err(Challenge::Unusable) => Verdict::Refused(code, bounded(text)),
                    Err(Challenge::TooLong) => Verdict::Refused(code, TOO_LONG.into()),
                    Err(Challenge::Weaker) => Verdict::Drop,
                }
            }
            (Class::Success | Class::Error, _) if is_genuine && was_signed => Verdict::Believe,
            (Class::Error, Some((300 | 400, _))) => Verdict::Drop,
            (Class::Error, Some((code, text))) if !was_signed => Verdict::Refused(code, bounded(text)),
            (Class::Success | Class::Error | Class::Request | Class::Indication, _) => Verdict::Drop,
        }
    }

    /// Whether a message is the server's, by what was confirmed or by what is tried, which is confirmed by it.
    fn verify(&mut self, message: &ServerMessage<'_>) -> bool {
        if self.confirmed.as_ref().is_some_and(|session| session.verifies(message)) {
            return true;
        }
        let is_genuine = self.tried.as_ref().is_some_and(|session| session.verifies(message));
        if is_genuine {
            self.confirmed = self.tried.take();
        }
        is_genuine
    }

    /// A request has failed in spite of all that was tried: what was confirmed before counts again.
    pub(crate) fn give_up(&mut self) {
        if self.confirmed.is_some() {
            self.tried = None;
        }
    }

    /// Takes realm and nonce of an error in; gives whether it is a realm that the server was not asked in.
    fn take_challenge(&mut self, message: &ServerMessage<'_>) -> Result<bool, Challenge> {
        let is_bounded = |value: &&[u8]| value.len() <= limits::CHALLENGE_TEXT;
        let realm = message.get(kinds::REALM).filter(is_bounded);
        let nonce = message.get(kinds::NONCE).filter(is_bounded);
        let Some((realm, nonce)) = realm.zip(nonce) else { return Err(Challenge::Unusable) };
        let Some(user) = &self.user else { return Err(Challenge::Unusable) };
        let (has_algorithms, has_userhash) = security_bits(nonce);
        let algorithms = if has_algorithms {
            match message.get(kinds::PASSWORD_ALGORITHMS) {
                // Somebody on the way may have taken it out (RFC 8489 §9.2.5).
                None | Some([]) => return Err(Challenge::Unusable),
                Some(list) if list.len() > limits::PASSWORD_ALGORITHMS => return Err(Challenge::TooLong),
                Some(list) => list,
            }
        } else {
            &[]
        };
        let algorithm = match offered(algorithms) {
            _ if !has_algorithms => Integrity::Sha1,
            (true, _) => Integrity::Sha256,
            (false, true) => Integrity::Sha1,
            (false, false) => return Err(Challenge::Unusable),
        };
        let integrity = if has_algorithms { Integrity::Sha256 } else { Integrity::Sha1 };
        let username = user.name.as_bytes();
        let userhash = has_userhash.then(|| userhash(username, realm));
        if added(username.len(), realm, nonce, algorithms, integrity, userhash) > self.room {
            return Err(Challenge::TooLong);
        }
        let is_weaker = |one: &Session| one.integrity == Integrity::Sha256 && integrity == Integrity::Sha1;
        if self.confirmed.as_ref().or(self.tried.as_ref()).is_some_and(is_weaker) {
            return Err(Challenge::Weaker);
        }
        let is_new_realm = self.session().is_none_or(|session| *session.realm != *realm);
        let is_it =
            |one: &&mut Session| *one.realm == *realm && one.algorithm == algorithm && one.integrity == integrity;
        if let Some(known) = self.confirmed.as_mut().filter(is_it) {
            (known.nonce, known.algorithms, known.userhash) = (nonce.into(), algorithms.into(), userhash);
            self.tried = None;
            return Ok(is_new_realm);
        }
        if let Some(known) = self.tried.as_mut().filter(is_it) {
            (known.nonce, known.algorithms, known.userhash) = (nonce.into(), algorithms.into(), userhash);
            return Ok(is_new_realm);
        }
        self.tried = Some(Session {
            realm: realm.into(),
            nonce: nonce.into(),
            algorithms: algorithms.into(),
            algorithm,
            integrity,
            key: IntegrityKey::long_term(username, realm, user.password.as_bytes(), algorithm),
            userhash,
        });
        Ok(is_new_realm)
    }
}

/// How many bytes credentials take in a request.
fn added(
    name: usize,
    realm: &[u8],
    nonce: &[u8],
    algorithms: &[u8],
    integrity: Integrity,
    userhash: Option<[u8; 32]>,
) -> usize {
    let attribute = |length: usize| 4 + length.next_multiple_of(4);
    let algorithms = if algorithms.is_empty() { 0 } else { attribute(algorithms.len()) + attribute(4) };
    let tag = if integrity == Integrity::Sha256 { 32 } else { 20 };
    let name = userhash.map_or(name, |hash| hash.len());
    [name, realm.len(), nonce.len(), tag].map(attribute).iter().sum::<usize>() + algorithms
}

impl fmt::Debug for Auth {
    /// Withholds the password, and what is made of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// Why a challenge is not met.
enum Challenge {
    /// Nothing that this client can answer.
    Unusable,
    /// No request has room for what it wants to hear.
    TooLong,
    /// It asks for less than the session has (RFC 8489 §9.2.1, bid down).
    Weaker,
}

/// What the nonce says of its server: whether it has PASSWORD-ALGORITHMS, and whether it takes USERHASH
/// (RFC 8489 §9.2.1). The first of the four base64 digits behind the cookie has both bits.
fn security_bits(nonce: &[u8]) -> (bool, bool) {
    let Some(digits) = nonce.strip_prefix(b"obMatJos2").and_then(|rest| rest.first_chunk::<4>()) else {
        return (false, false);
    };
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let is_base64 = digits.iter().all(|digit| value(*digit).is_some());
    let [first, ..] = *digits;
    match value(first).filter(|_| is_base64) {
        Some(bits) => (bits & 0x20 != 0, bits & 0x10 != 0),
        None => (false, false),
    }
}

/// Whether a list of password algorithms has SHA-256, and MD5 (RFC 8489 §14.11).
fn offered(mut list: &[u8]) -> (bool, bool) {
    let mut found = (false, false);
    while let Some((&[a1, a2, l1, l2], rest)) = list.split_first_chunk::<4>() {
        match u16::from_be_bytes([a1, a2]) {
            SHA256 => found.0 = true,
            MD5 => found.1 = true,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([l1, l2])).next_multiple_of(4);
        list = rest.get(length..).unwrap_or_default();
    }
    found
}

/// The text of an error, of a length that can be kept.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(limits::ERROR_TEXT).collect()
}

const MD5: u16 = 1;
const SHA256: u16 = 2;
/// What is told of a challenge that no request has room to answer.
const TOO_LONG: &str = "no request has room for what the server wants to hear";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::TransactionId;
    use crate::stun::server::Method;

    const ID: TransactionId = TransactionId([9; 12]);
    const BOTH: &[u8] = &[0, 1, 0, 0, 0, 2, 0, 0];

    fn challenge(code: u16, realm: &str, nonce: &str, algorithms: Option<&[u8]>) -> alloc::vec::Vec<u8> {
        let mut out = ServerWriter::new(Class::Error, Method::Allocate, ID);
        out.put_error(code, "try again").put(kinds::REALM, realm.as_bytes()).put(kinds::NONCE, nonce.as_bytes());
        if let Some(list) = algorithms {
            out.put(kinds::PASSWORD_ALGORITHMS, list);
        }
        out.finish(None)
    }

    fn judge(auth: &mut Auth, bytes: &[u8], was_signed: bool) -> Verdict {
        auth.judge(&ServerMessage::read(bytes).unwrap(), was_signed)
    }

    fn user() -> Auth {
        Auth::new(Some(("user", "pass")), 1400)
    }

    fn signed(auth: &Auth) -> alloc::vec::Vec<u8> {
        auth.sign(ServerWriter::new(Class::Request, Method::Allocate, ID))
    }

    /// Req: 8489-9.2.3.1-a
    /// Req: 8489-9.2.5-a
    #[test]
    fn the_first_request_is_bare_and_the_next_has_what_the_server_told() {
        let mut auth = user();
        assert_eq!(signed(&auth).len(), 20);
        let retry = |is_new_realm| Verdict::Retry { is_new_realm };
        assert_eq!(judge(&mut auth, &challenge(401, "realm", "n1", None), false), retry(true));
        let bytes = signed(&auth);
        let request = ServerMessage::read(&bytes).unwrap();
        assert_eq!(request.get(kinds::USERNAME), Some(b"user".as_slice()));
        assert_eq!(request.get(kinds::REALM), Some(b"realm".as_slice()));
        assert_eq!(request.get(kinds::NONCE), Some(b"n1".as_slice()));
        let key = IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1);
        assert!(request.is_genuine(&key, Integrity::Sha1));
        assert_eq!(judge(&mut auth, &challenge(401, "realm", "n2", None), true), retry(false));
        assert_eq!(judge(&mut auth, &challenge(401, "other", "n2", None), true), retry(true));
        assert_eq!(judge(&mut auth, &challenge(438, "other", "n3", None), true), retry(false));
        assert_eq!(judge(&mut auth, &challenge(438, "other", "n3", None), false), Verdict::Drop);
    }

    /// Req: 8489-9.2.5-c
    #[test]
    fn the_cookie_in_the_nonce_decides_on_algorithm_and_user_hash() {
        let nonce = |digits: &str| alloc::format!("obMatJos2{digits}abc");
        type Expected = Option<(Integrity, Integrity, bool)>;
        let cases: [(&str, Option<&[u8]>, Expected); 13] = [
            ("AAAA", None, Some((Integrity::Sha1, Integrity::Sha1, false))),
            ("AAAA", Some(BOTH), Some((Integrity::Sha1, Integrity::Sha1, false))),
            ("gAAA", None, None),
            ("gAAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 1, 0, 0]), Some((Integrity::Sha1, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 2, 0, 0]), Some((Integrity::Sha256, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 9, 0, 1, 0, 0, 0, 0]), None),
            ("QAAA", None, Some((Integrity::Sha1, Integrity::Sha1, true))),
            ("wAAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, true))),
            // The digits of base64 that are digits have both bits.
            ("0AAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, true))),
            ("9zz/", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, true))),
            ("+AAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, true))),
            // No base64: an ordinary nonce.
            ("0A-A", Some(BOTH), Some((Integrity::Sha1, Integrity::Sha1, false))),
        ];
        for (digits, algorithms, expected) in cases {
            let mut auth = user();
            let verdict = judge(&mut auth, &challenge(401, "realm", &nonce(digits), algorithms), false);
            let Some((algorithm, integrity, has_hash)) = expected else {
                assert!(matches!(verdict, Verdict::Refused(401, _)), "{digits} {algorithms:?}");
                continue;
            };
            assert_eq!(verdict, Verdict::Retry { is_new_realm: true }, "{digits} {algorithms:?}");
            let bytes = signed(&auth);
            let request = ServerMessage::read(&bytes).unwrap();
            let key = IntegrityKey::long_term(b"user", b"realm", b"pass", algorithm);
            assert!(request.is_genuine(&key, integrity), "{digits} {algorithms:?}");
            assert_eq!(request.get(kinds::USERHASH).is_some(), has_hash);
            assert_eq!(request.get(kinds::USERNAME).is_none(), has_hash);
            let echoed = request.get(kinds::PASSWORD_ALGORITHMS);
            assert_eq!(echoed, algorithms.filter(|_| integrity == Integrity::Sha256));
        }
    }

    /// Req: 8489-9.2.5-c
    #[test]
    fn a_session_with_sha256_is_not_talked_down() {
        let mut auth = user();
        let first = judge(&mut auth, &challenge(401, "realm", "obMatJos2gAAAx", Some(BOTH)), false);
        assert_eq!(first, Verdict::Retry { is_new_realm: true });
        assert_eq!(judge(&mut auth, &challenge(438, "realm", "plain", None), true), Verdict::Drop);
    }

    /// Req: 8489-9.2.5-e
    /// Req: 8656-7.4-b
    #[test]
    fn answers_without_the_right_integrity_are_dropped() {
        let mut auth = user();
        judge(&mut auth, &challenge(401, "realm", "n1", None), false);
        let wrong = IntegrityKey::long_term(b"user", b"realm", b"wrong", Integrity::Sha1);
        let right = IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1);
        let success = || ServerWriter::new(Class::Success, Method::Allocate, ID);
        let error = |code| {
            let mut out = ServerWriter::new(Class::Error, Method::Allocate, ID);
            out.put_error(code, "no");
            out
        };
        for (bytes, verdict) in [
            (success().finish(None), Verdict::Drop),
            (success().finish(Some((&wrong, Integrity::Sha1))), Verdict::Drop),
            (success().finish(Some((&right, Integrity::Sha1))), Verdict::Believe),
            (error(400).finish(None), Verdict::Drop),
            (error(300).finish(None), Verdict::Drop),
            (error(486).finish(None), Verdict::Drop),
            (error(486).finish(Some((&right, Integrity::Sha1))), Verdict::Believe),
        ] {
            assert_eq!(judge(&mut auth, &bytes, true), verdict);
        }
        for (code, verdict) in [(300, Verdict::Drop), (400, Verdict::Drop), (403, Verdict::Refused(403, "no".into()))] {
            assert_eq!(judge(&mut auth, &error(code).finish(None), false), verdict);
        }
        assert_eq!(judge(&mut auth, &success().finish(None), false), Verdict::Drop);
    }

    /// Req: 8489-9.2.5-c
    #[test]
    fn a_stale_nonce_may_come_with_another_list_of_algorithms_which_is_echoed() {
        let mut auth = user();
        judge(&mut auth, &challenge(401, "realm", "obMatJos2gAAA1", Some(BOTH)), false);
        let other: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0];
        judge(&mut auth, &challenge(438, "realm", "obMatJos2gAAA2", Some(other)), true);
        let bytes = signed(&auth);
        let request = ServerMessage::read(&bytes).unwrap();
        assert_eq!(request.get(kinds::PASSWORD_ALGORITHMS), Some(other));
        assert_eq!(request.get(kinds::NONCE), Some(b"obMatJos2gAAA2".as_slice()));
    }

    #[test]
    fn what_is_added_to_a_request_is_known_beforehand() {
        for (digits, algorithms) in
            [("plain", None), ("obMatJos2gAAA", Some(BOTH)), ("obMatJos2QAAA", None), ("obMatJos2wAAA", Some(BOTH))]
        {
            for length in 0..5 {
                let name = "u".repeat(length);
                let mut auth = Auth::new(Some((&name, "pass")), 1400);
                assert_eq!(auth.added(), 0);
                let nonce = alloc::format!("{digits}{}", "n".repeat(length));
                judge(&mut auth, &challenge(401, &"r".repeat(length), &nonce, algorithms), false);
                assert_eq!(20 + auth.added(), signed(&auth).len(), "{digits} {length}");
            }
        }
    }

    /// Req: 8489-9.2.5-a
    #[test]
    fn challenges_of_every_length_are_met_that_a_request_has_room_for() {
        let list = |length: usize| alloc::vec![&[0, 2, 0, 0][..]; length / 4].concat();
        let cases = [
            (0, 4, None, true),
            (508, 763, None, true),
            (763, 500, None, true),
            (763, 763, None, false),
            (764, 4, None, false),
            (4, 764, None, false),
            (4, 20, Some(list(128)), true),
            (4, 20, Some(list(132)), false),
            (600, 600, Some(list(128)), false),
        ];
        for (realm, nonce, algorithms, is_met) in cases {
            let mut auth = user();
            let nonce = if algorithms.is_some() {
                alloc::format!("obMatJos2gAAA{}", "n".repeat(nonce))
            } else {
                "n".repeat(nonce)
            };
            let bytes = challenge(401, &"r".repeat(realm), &nonce, algorithms.as_deref());
            let verdict = judge(&mut auth, &bytes, false);
            assert_eq!(matches!(verdict, Verdict::Retry { .. }), is_met, "{realm} {}", nonce.len());
            assert_eq!(matches!(verdict, Verdict::Refused(401, _)), !is_met);
            assert!(auth.added() <= 1400);
        }
    }

    #[test]
    fn a_realm_that_nothing_confirms_does_not_take_the_place_of_one_that_was() {
        let key = |realm: &[u8]| IntegrityKey::long_term(b"user", realm, b"pass", Integrity::Sha1);
        let success = |realm: &[u8]| {
            let out = ServerWriter::new(Class::Success, Method::Refresh, ID);
            out.finish(Some((&key(realm), Integrity::Sha1)))
        };
        let realm_of = |auth: &Auth| {
            let bytes = signed(auth);
            ServerMessage::read(&bytes).unwrap().get(kinds::REALM).unwrap().to_vec()
        };
        let mut auth = user();
        judge(&mut auth, &challenge(401, "realm", "n1", None), false);
        assert_eq!(judge(&mut auth, &success(b"realm"), true), Verdict::Believe);
        judge(&mut auth, &challenge(401, "forged", "n2", None), true);
        assert_eq!(realm_of(&auth), b"forged");
        // What was asked before is answered by the one that was confirmed.
        assert_eq!(judge(&mut auth, &success(b"realm"), true), Verdict::Believe);
        auth.give_up();
        assert_eq!(realm_of(&auth), b"realm");
        // A server that has changed its realm confirms it.
        judge(&mut auth, &challenge(401, "moved", "n3", None), true);
        assert_eq!(judge(&mut auth, &success(b"moved"), true), Verdict::Believe);
        auth.give_up();
        assert_eq!(realm_of(&auth), b"moved");
        assert_eq!(judge(&mut auth, &success(b"realm"), true), Verdict::Drop);
    }

    #[test]
    fn a_guest_believes_answers_without_integrity_and_follows_no_redirection() {
        let answer = |code: Option<u16>| {
            let class = if code.is_some() { Class::Error } else { Class::Success };
            let mut out = ServerWriter::new(class, Method::Allocate, ID);
            if let Some(code) = code {
                out.put_error(code, "no");
            }
            out.finish(None)
        };
        let mut auth = Auth::new(None, 1400);
        assert!(auth.is_ready() && signed(&auth).len() == 20);
        for (code, verdict) in [
            (None, Verdict::Believe),
            (Some(437), Verdict::Believe),
            (Some(400), Verdict::Believe),
            (Some(300), Verdict::Refused(300, "no".into())),
            (Some(401), Verdict::Refused(401, "no".into())),
        ] {
            assert_eq!(judge(&mut auth, &answer(code), false), verdict);
        }
    }
}
