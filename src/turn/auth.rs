//! Long-term credentials: realm, nonce, and which answers are believed (RFC 8489 §9.2).

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::stun::server::{ServerMessage, ServerWriter, kinds};
use crate::stun::{Class, Integrity, IntegrityKey, userhash};

/// What to make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the server's.
    Believe,
    /// The server wants the request again, with what it has told about itself.
    Retry,
    /// The server refuses: nothing that could be tried again.
    Refused(u16, String),
    /// It may come from anybody.
    Drop,
}

/// The credentials of a user with one server, and what the server has told.
#[derive(Clone)]
pub(crate) struct Auth {
    username: Box<str>,
    password: Box<str>,
    session: Option<Session>,
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

impl Auth {
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Self { username: username.into(), password: password.into(), session: None }
    }

    /// Whether requests have credentials by now: the first one to a server has none (RFC 8489 §9.2.3.1).
    pub(crate) const fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// The most bytes that this adds to a request.
    pub(crate) fn longest(&self) -> usize {
        let text = |text: &[u8]| 4 + text.len().next_multiple_of(4);
        self.session.as_ref().map_or(0, |session| {
            let parts = [&session.realm, &session.nonce, &session.algorithms];
            parts.iter().map(|part| text(part)).sum::<usize>() + text(self.username.as_bytes()).max(36) + 8 + 36
        })
    }

    /// Completes a request: user, realm, nonce and integrity, once the server has told about itself.
    pub(crate) fn sign(&self, mut out: ServerWriter) -> alloc::vec::Vec<u8> {
        let Some(session) = &self.session else { return out.finish(None) };
        match &session.userhash {
            Some(hash) => out.put(kinds::USERHASH, hash),
            None => out.put(kinds::USERNAME, self.username.as_bytes()),
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
    /// credentials: no key is agreed by then. Redirections and 400 are never believed without.
    pub(crate) fn judge(&mut self, message: &ServerMessage<'_>, was_signed: bool) -> Verdict {
        let is_genuine = self.session.as_ref().is_some_and(|one| message.is_genuine(&one.key, one.integrity));
        let error = message.error();
        match (message.class, error) {
            (Class::Error, Some((code @ (401 | 438), text))) => {
                let realm = message.get(kinds::REALM);
                let is_same = self.session.as_ref().is_some_and(|session| realm == Some(&*session.realm));
                let refused = || Verdict::Refused(code, bounded(text));
                match code {
                    438 if !was_signed => Verdict::Drop,
                    401 if was_signed && is_same => refused(),
                    _ => match self.take_challenge(message) {
                        Challenge::Taken => Verdict::Retry,
                        Challenge::Unusable => refused(),
                        Challenge::Weaker => Verdict::Drop,
                    },
                }
            }
            (Class::Success | Class::Error, _) if is_genuine && was_signed => Verdict::Believe,
            (Class::Error, Some((300 | 400, _))) => Verdict::Drop,
            (Class::Error, Some((code, text))) if !was_signed => Verdict::Refused(code, bounded(text)),
            (Class::Success | Class::Error | Class::Request | Class::Indication, _) => Verdict::Drop,
        }
    }

    /// Takes realm and nonce of an error in.
    fn take_challenge(&mut self, message: &ServerMessage<'_>) -> Challenge {
        let is_bounded = |value: &&[u8]| (1..=MAX_TEXT).contains(&value.len());
        let realm = message.get(kinds::REALM).filter(is_bounded);
        let nonce = message.get(kinds::NONCE).filter(is_bounded);
        let Some((realm, nonce)) = realm.zip(nonce) else { return Challenge::Unusable };
        let (has_algorithms, has_userhash) = security_bits(nonce);
        let algorithms = if has_algorithms {
            match message.get(kinds::PASSWORD_ALGORITHMS) {
                // Somebody on the way may have taken it out (RFC 8489 §9.2.5).
                None | Some([]) => return Challenge::Unusable,
                Some(list) => list,
            }
        } else {
            &[]
        };
        let algorithm = match offered(algorithms) {
            _ if !has_algorithms => Integrity::Sha1,
            (true, _) => Integrity::Sha256,
            (false, true) => Integrity::Sha1,
            (false, false) => return Challenge::Unusable,
        };
        let integrity = if has_algorithms { Integrity::Sha256 } else { Integrity::Sha1 };
        if let Some(session) = &mut self.session {
            if session.integrity == Integrity::Sha256 && integrity == Integrity::Sha1 {
                return Challenge::Weaker;
            }
            if *session.realm == *realm && session.algorithm == algorithm && session.integrity == integrity {
                session.nonce = nonce.into();
                session.algorithms = algorithms.into();
                return Challenge::Taken;
            }
        }
        let username = self.username.as_bytes();
        self.session = Some(Session {
            realm: realm.into(),
            nonce: nonce.into(),
            algorithms: algorithms.into(),
            algorithm,
            integrity,
            key: IntegrityKey::long_term(username, realm, self.password.as_bytes(), algorithm),
            userhash: has_userhash.then(|| userhash(username, realm)),
        });
        Challenge::Taken
    }
}

impl fmt::Debug for Auth {
    /// Withholds the password, and what is made of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("has_session", &self.has_session()).finish_non_exhaustive()
    }
}

enum Challenge {
    Taken,
    /// Nothing that this client can answer.
    Unusable,
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
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

const MD5: u16 = 1;
const SHA256: u16 = 2;
/// Longest realm and nonce, in bytes (RFC 8489 §14.9, §14.10).
const MAX_TEXT: usize = 763;

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

    fn signed(auth: &Auth) -> alloc::vec::Vec<u8> {
        auth.sign(ServerWriter::new(Class::Request, Method::Allocate, ID))
    }

    /// Req: 8489-9.2.3.1-a
    /// Req: 8489-9.2.5-a
    #[test]
    fn the_first_request_is_bare_and_the_next_has_what_the_server_told() {
        let mut auth = Auth::new("user", "pass");
        assert_eq!(signed(&auth).len(), 20);
        assert_eq!(judge(&mut auth, &challenge(401, "realm", "n1", None), false), Verdict::Retry);
        let bytes = signed(&auth);
        let request = ServerMessage::read(&bytes).unwrap();
        assert_eq!(request.get(kinds::USERNAME), Some(b"user".as_slice()));
        assert_eq!(request.get(kinds::REALM), Some(b"realm".as_slice()));
        assert_eq!(request.get(kinds::NONCE), Some(b"n1".as_slice()));
        let key = IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1);
        assert!(request.is_genuine(&key, Integrity::Sha1));
        assert_eq!(
            judge(&mut auth, &challenge(401, "realm", "n2", None), true),
            Verdict::Refused(401, "try again".into())
        );
        assert_eq!(judge(&mut auth, &challenge(401, "other", "n2", None), true), Verdict::Retry);
        assert_eq!(judge(&mut auth, &challenge(438, "other", "n3", None), true), Verdict::Retry);
        assert_eq!(judge(&mut auth, &challenge(438, "other", "n3", None), false), Verdict::Drop);
    }

    /// Req: 8489-9.2.5-c
    #[test]
    fn the_cookie_in_the_nonce_decides_on_algorithm_and_user_hash() {
        let nonce = |digits: &str| alloc::format!("obMatJos2{digits}abc");
        type Expected = Option<(Integrity, Integrity, bool)>;
        let cases: [(&str, Option<&[u8]>, Expected); 9] = [
            ("AAAA", None, Some((Integrity::Sha1, Integrity::Sha1, false))),
            ("AAAA", Some(BOTH), Some((Integrity::Sha1, Integrity::Sha1, false))),
            ("gAAA", None, None),
            ("gAAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 1, 0, 0]), Some((Integrity::Sha1, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 2, 0, 0]), Some((Integrity::Sha256, Integrity::Sha256, false))),
            ("gAAA", Some(&[0, 9, 0, 1, 0, 0, 0, 0]), None),
            ("QAAA", None, Some((Integrity::Sha1, Integrity::Sha1, true))),
            ("wAAA", Some(BOTH), Some((Integrity::Sha256, Integrity::Sha256, true))),
        ];
        for (digits, algorithms, expected) in cases {
            let mut auth = Auth::new("user", "pass");
            let verdict = judge(&mut auth, &challenge(401, "realm", &nonce(digits), algorithms), false);
            let Some((algorithm, integrity, has_hash)) = expected else {
                assert!(matches!(verdict, Verdict::Refused(401, _)), "{digits} {algorithms:?}");
                continue;
            };
            assert_eq!(verdict, Verdict::Retry, "{digits} {algorithms:?}");
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
        let mut auth = Auth::new("user", "pass");
        assert_eq!(judge(&mut auth, &challenge(401, "realm", "obMatJos2gAAAx", Some(BOTH)), false), Verdict::Retry);
        assert_eq!(judge(&mut auth, &challenge(438, "realm", "plain", None), true), Verdict::Drop);
    }

    /// Req: 8489-9.2.5-e
    /// Req: 8656-7.4-b
    #[test]
    fn answers_without_the_right_integrity_are_dropped() {
        let mut auth = Auth::new("user", "pass");
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
}
