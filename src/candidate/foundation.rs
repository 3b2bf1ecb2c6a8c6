//! Foundations: which candidates are alike enough that one check tells about the others (RFC 8445 §5.1.1.3).

use core::fmt;

use crate::config::limits;
use core::str::FromStr;

/// Foundation of a candidate: 1 to 32 of letters, digits, `+` and `/` (RFC 8839 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Foundation {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

/// Why a text is not a [`Foundation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseFoundationError {
    /// It has no or more than 32 characters.
    #[error("a foundation has 1 to 32 characters, this one has {0}")]
    Length(usize),
    /// It has a character other than letters, digits, `+` and `/`, at this byte position.
    #[error("a foundation has no such character as the one at byte {0}")]
    Character(usize),
}

impl Foundation {
    /// Most characters that a foundation has.
    pub const MAX_LEN: usize = limits::FOUNDATION;

    /// Its characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The foundation `prefix` followed by a decimal number.
    pub(crate) fn numbered(prefix: &str, number: u32) -> Self {
        let mut text = Self { len: 0, bytes: [0; Self::MAX_LEN] };
        // A prefix of a few characters and ten digits fit.
        let _ = fmt::write(&mut text, format_args!("{prefix}{number}"));
        text
    }
}

impl fmt::Write for Foundation {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for &byte in s.as_bytes() {
            *self.bytes.get_mut(usize::from(self.len)).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

impl FromStr for Foundation {
    type Err = ParseFoundationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(ParseFoundationError::Length(text.len()));
        }
        if let Some(at) = text.bytes().position(|byte| !is_ice_char(byte)) {
            return Err(ParseFoundationError::Character(at));
        }
        let mut foundation = Self { len: 0, bytes: [0; Self::MAX_LEN] };
        // The length was checked above.
        let _ = fmt::Write::write_str(&mut foundation, text);
        Ok(foundation)
    }
}

impl fmt::Display for Foundation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Foundation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foundation({})", self.as_str())
    }
}

/// The `ice-char` of RFC 8839 §5.1.
pub(crate) const fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Req: 8839-5.1-b
    #[test]
    fn a_foundation_has_1_to_32_ice_chars() {
        assert_eq!("".parse::<Foundation>(), Err(ParseFoundationError::Length(0)));
        assert_eq!("a".parse::<Foundation>().map(|f| f.to_string()), Ok("a".into()));
        let longest = "0123456789+/abcdefABCDEF01234567";
        assert_eq!(longest.parse::<Foundation>().map(|f| f.to_string()), Ok(longest.into()));
        assert_eq!("0".repeat(33).parse::<Foundation>(), Err(ParseFoundationError::Length(33)));
        assert_eq!("ab-c".parse::<Foundation>(), Err(ParseFoundationError::Character(2)));
    }

    #[test]
    fn a_numbered_foundation_is_its_prefix_and_number() {
        assert_eq!(Foundation::numbered("p", u32::MAX).as_str(), "p4294967295");
    }
}
