//! Short-term credentials of an ICE generation (RFC 8445 §5.3, RFC 8839 §5.4).

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::candidate::is_ice_char;
use crate::config::limits;
use crate::types::Random;

/// Username fragment: 4 to 256 of letters, digits, `+` and `/` (RFC 8839 §5.4).
///
/// That of a peer may also have `-`, `=`, `#` and `_` in it, as some agents send them; see
/// [`is_strict`](Self::is_strict).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ufrag(Box<str>);

/// Password: 22 to 256 of letters, digits, `+` and `/` (RFC 8839 §5.4). It is never printed.
///
/// That of a peer may also have `-`, `=`, `#` and `_` in it, as some agents send them; see
/// [`is_strict`](Self::is_strict).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

/// Why a text is no [`Ufrag`] or no [`Password`]. Which of them it should have been is told by
/// [`part`](Self::part), and by the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCredentialError {
    /// It is shorter than allowed.
    #[error("a {} of {length} characters, fewer than {least}", self.part())]
    TooShort {
        /// Its length in bytes.
        length: usize,
        /// The least length: 4 for a username fragment, 22 for a password.
        least: usize,
    },
    /// The username fragment is longer than 256 characters.
    #[error("a username fragment of {0} characters, more than 256")]
    TooLong(usize),
    /// The username fragment has a character other than letters, digits and `+ / - = # _`, at this byte position.
    #[error("a username fragment with a character at byte {0} that none has")]
    Character(usize),
    /// The password is longer than 256 characters.
    #[error("a password of {0} characters, more than 256")]
    PasswordTooLong(usize),
    /// The password has a character other than letters, digits and `+ / - = # _`, at this byte position.
    #[error("a password with a character at byte {0} that none has")]
    PasswordCharacter(usize),
}

/// One of the two parts of [`Credentials`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "RFC 8445 closes the set")]
pub enum CredentialPart {
    /// The username fragment.
    Ufrag,
    /// The password.
    Password,
}

impl fmt::Display for CredentialPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ufrag => "username fragment",
            Self::Password => "password",
        })
    }
}

impl ParseCredentialError {
    /// Which part of the credentials is wrong.
    #[must_use]
    pub const fn part(&self) -> CredentialPart {
        match *self {
            Self::TooShort { least, .. } if least > Ufrag::MIN_LEN => CredentialPart::Password,
            Self::PasswordTooLong(_) | Self::PasswordCharacter(_) => CredentialPart::Password,
            Self::TooShort { .. } | Self::TooLong(_) | Self::Character(_) => CredentialPart::Ufrag,
        }
    }
}

/// Longest username fragment and password (RFC 8839 §5.4).
const MAX_LEN: usize = limits::CREDENTIAL;

fn check(text: &str, part: CredentialPart) -> Result<(), ParseCredentialError> {
    use ParseCredentialError as E;
    let (least, is_ufrag) = match part {
        CredentialPart::Ufrag => (Ufrag::MIN_LEN, true),
        CredentialPart::Password => (Password::MIN_LEN, false),
    };
    let length = text.len();
    if length < least {
        return Err(E::TooShort { length, least });
    }
    if length > MAX_LEN {
        return Err(if is_ufrag { E::TooLong(length) } else { E::PasswordTooLong(length) });
    }
    match text.bytes().position(|byte| !is_ice_char(byte) && !b"-=#_".contains(&byte)) {
        Some(at) => Err(if is_ufrag { E::Character(at) } else { E::PasswordCharacter(at) }),
        None => Ok(()),
    }
}

fn is_strict(text: &str) -> bool {
    text.bytes().all(is_ice_char)
}

impl Ufrag {
    /// Least number of characters.
    pub const MIN_LEN: usize = 4;

    pub(crate) const MAX_LEN: usize = MAX_LEN;

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has only the characters of RFC 8839 §5.4, which all that an agent sends of its own has.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        is_strict(&self.0)
    }
}

impl FromStr for Ufrag {
    type Err = ParseCredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, CredentialPart::Ufrag)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Ufrag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Password {
    /// Least number of characters.
    pub const MIN_LEN: usize = 22;

    /// Its characters, which the peer needs and nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it has only the characters of RFC 8839 §5.4, which all that an agent sends of its own has.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        is_strict(&self.0)
    }
}

impl FromStr for Password {
    type Err = ParseCredentialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, CredentialPart::Password)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Username fragment and password of one side of a stream, changed by every ICE restart (RFC 8445 §5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 8445 closes the set")]
pub struct Credentials {
    /// Username fragment.
    pub ufrag: Ufrag,
    /// Password.
    pub password: Password,
}

impl Credentials {
    /// Credentials of these two texts.
    ///
    /// # Errors
    /// [`ParseCredentialError`] if either has the wrong length or a character that is not allowed: its
    /// [`part`](ParseCredentialError::part) says which, the username fragment first.
    pub fn new(ufrag: &str, password: &str) -> Result<Self, ParseCredentialError> {
        Ok(Self { ufrag: ufrag.parse()?, password: password.parse()? })
    }

    /// Whether both have only the characters of RFC 8839 §5.4.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.ufrag.is_strict() && self.password.is_strict()
    }

    /// New random credentials: 48 random bits in the username fragment and 144 in the password, twice the least of the
    /// first and a little more than the least of the second (RFC 8445 §5.3).
    pub(crate) fn generate(random: &mut Random) -> Self {
        Self { ufrag: Ufrag(ice_chars(random, 8)), password: Password(ice_chars(random, 24)) }
    }
}

/// Random `ice-char`s, 6 bits each.
fn ice_chars(random: &mut Random, count: usize) -> Box<str> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(count);
    let mut bits = 0;
    for drawn in 0..count {
        if drawn % 10 == 0 {
            bits = random.u64();
        }
        text.extend(ALPHABET.get((bits & 63) as usize).map(|&byte| char::from(byte)));
        bits >>= 6;
    }
    text.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seed;
    use alloc::format;
    use alloc::string::ToString;

    /// Req: 8839-5.4-a
    #[test]
    fn a_ufrag_has_4_to_256_and_a_password_22_to_256_ice_chars() {
        let of = |length| "x".repeat(length);
        assert_eq!(of(3).parse::<Ufrag>(), Err(ParseCredentialError::TooShort { length: 3, least: 4 }));
        assert!(of(4).parse::<Ufrag>().is_ok() && of(256).parse::<Ufrag>().is_ok());
        assert_eq!(of(257).parse::<Ufrag>(), Err(ParseCredentialError::TooLong(257)));
        assert_eq!(of(21).parse::<Password>(), Err(ParseCredentialError::TooShort { length: 21, least: 22 }));
        assert!(of(22).parse::<Password>().is_ok() && of(256).parse::<Password>().is_ok());
        assert_eq!(of(257).parse::<Password>(), Err(ParseCredentialError::PasswordTooLong(257)));
        assert_eq!("abc:".parse::<Ufrag>(), Err(ParseCredentialError::Character(3)));
    }

    /// Req: 8839-5.4-a
    #[test]
    fn what_others_send_is_taken_and_what_we_make_is_strict() {
        for extra in ["-", "=", "#", "_"] {
            let peer = Credentials::new(&format!("abc{extra}"), &format!("{extra}{}", "p".repeat(21))).unwrap();
            assert!(!peer.is_strict() && !peer.ufrag.is_strict() && !peer.password.is_strict(), "{extra}");
        }
        for wrong in [":", " ", "\t", ",", ".", "\u{e9}", "\0", "*"] {
            assert!(format!("abcd{wrong}").parse::<Ufrag>().is_err(), "{wrong:?}");
        }
        let mut random = Random::new(&Seed::from_name("strict"));
        assert!((0..100).all(|_| Credentials::generate(&mut random).is_strict()));
    }

    #[test]
    fn the_error_says_which_part_is_wrong() {
        let (good, good_password) = ("abcd", "p".repeat(22));
        let part = |ufrag: &str, password: &str| {
            let error = Credentials::new(ufrag, password).unwrap_err();
            assert!(error.to_string().contains(&error.part().to_string()), "{error}");
            error.part()
        };
        for wrong in ["abc", &"u".repeat(257), "ab:d"] {
            assert_eq!(part(wrong, &good_password), CredentialPart::Ufrag, "{wrong}");
        }
        for wrong in ["p", &"p".repeat(257), &format!("{}:", "p".repeat(22))] {
            assert_eq!(part(good, wrong), CredentialPart::Password, "{wrong}");
        }
    }

    /// Req: 8445-5.3-a
    #[test]
    fn generated_credentials_have_the_required_length_and_never_repeat() {
        let mut random = Random::new(&Seed::from_name("credentials"));
        let a = Credentials::generate(&mut random);
        let b = Credentials::generate(&mut random);
        assert_eq!((a.ufrag.as_str().len(), a.password.expose().len()), (8, 24));
        assert!(a.ufrag != b.ufrag && a.password != b.password);
        assert_eq!(Credentials::new(a.ufrag.as_str(), a.password.expose()), Ok(a));
    }

    /// Req: proj-ct-a
    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials::generate(&mut Random::new(&Seed::from_name("secret")));
        let text = format!("{credentials:?}");
        assert!(text.contains("Password(..)") && !text.contains(credentials.password.expose()));
    }
}
