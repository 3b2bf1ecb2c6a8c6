//! The `ice-options` attribute (RFC 8839 §5.6).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::is_word;
use crate::config::limits;
use crate::types::Renomination;

/// Extensions of ICE that an agent supports: the tokens of the `ice-options` attribute, in their order (RFC 8839 §5.6).
///
/// Unknown tokens are kept and written again. The default is `ice2`, which RFC 8839 wants in every description;
/// [`IceOptions::empty`] stands for a description without the attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceOptions {
    tokens: Vec<Box<str>>,
}

/// Why a text is not a list of [`IceOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIceOptionsError {
    /// It has more than 64 tokens.
    #[error("more than {0} ice options")]
    TooMany(usize),
    /// The token at this byte position is empty or has a blank, comma, line end or NUL in it.
    #[error("no ice option at byte {0}")]
    Token(usize),
}

impl IceOptions {
    /// The agent obeys RFC 8445: it does not nominate aggressively (RFC 8445 §10).
    pub const ICE2: &str = "ice2";
    /// The agent trickles (RFC 8838 §3).
    pub const TRICKLE: &str = "trickle";
    /// The controlling agent may nominate again (draft-thatcher-ice-renomination).
    pub const RENOMINATION: &str = "renomination";
    /// The same by the later draft, draft-thatcher-tsvwg-renomination.
    pub const RENOMINATION2: &str = "renomination2";
    /// Most tokens that a list has.
    pub const MAX_LEN: usize = limits::ICE_OPTIONS;

    /// No options at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self { tokens: Vec::new() }
    }

    /// The same with this token at the end, unless it is there already.
    ///
    /// RFC 8839 §5.6 recommends tokens of up to 20 characters.
    ///
    /// # Errors
    /// [`Token`](ParseIceOptionsError::Token) if it is empty or has a blank, comma, line end or NUL in it;
    /// [`TooMany`](ParseIceOptionsError::TooMany) if the list is full.
    pub fn with(mut self, token: &str) -> Result<Self, ParseIceOptionsError> {
        if !is_word(token) || token.contains(',') {
            return Err(ParseIceOptionsError::Token(0));
        }
        if !self.contains(token) {
            self.push(token)?;
        }
        Ok(self)
    }

    /// Whether the token is in the list, whatever the case of its letters.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.tokens.iter().any(|one| one.eq_ignore_ascii_case(token))
    }

    /// Whether `ice2` is in the list. Without it the peer may nominate as RFC 5245 allows (RFC 8839 §4.2.5).
    #[must_use]
    pub fn ice2(&self) -> bool {
        self.contains(Self::ICE2)
    }

    /// Whether `trickle` is in the list (RFC 8838 §3).
    #[must_use]
    pub fn trickle(&self) -> bool {
        self.contains(Self::TRICKLE)
    }

    /// Whether `renomination` is in the list.
    #[must_use]
    pub fn renomination(&self) -> bool {
        self.contains(Self::RENOMINATION)
    }

    /// Whether `renomination2` is in the list.
    #[must_use]
    pub fn renomination2(&self) -> bool {
        self.contains(Self::RENOMINATION2)
    }

    /// The tokens in their order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|token| &**token)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn push(&mut self, token: &str) -> Result<(), ParseIceOptionsError> {
        if self.tokens.len() >= Self::MAX_LEN {
            return Err(ParseIceOptionsError::TooMany(Self::MAX_LEN));
        }
        self.tokens.push(token.into());
        Ok(())
    }
}

impl Default for IceOptions {
    /// `ice2`.
    fn default() -> Self {
        Self { tokens: vec![Self::ICE2.into()] }
    }
}

impl FromStr for IceOptions {
    type Err = ParseIceOptionsError;

    /// Reads tokens with spaces or tabs between them, or with commas as libjuice writes them; more than needed do not matter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut options = Self::empty();
        let mut at = 0;
        for token in text.split([' ', '\t', ',']) {
            if !token.is_empty() {
                if !is_word(token) {
                    return Err(ParseIceOptionsError::Token(at));
                }
                options.push(token)?;
            }
            at += token.len() + 1;
        }
        Ok(options)
    }
}

impl fmt::Display for IceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.tokens().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl Renomination {
    /// The one that these options list; the later draft if they list both.
    #[must_use]
    pub fn of(options: &IceOptions) -> Option<Self> {
        if options.renomination2() {
            Some(Self::Draft2026)
        } else if options.renomination() {
            Some(Self::Draft2016)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    /// Req: 8839-5.6-a
    #[test]
    fn unknown_options_are_kept_in_order_and_known_ones_are_found() {
        let options: IceOptions = "ice2 trickle renomination rtp+ecn".parse().unwrap();
        assert!(options.ice2() && options.trickle() && options.renomination() && options.contains("RTP+ECN"));
        assert_eq!(options.to_string(), "ice2 trickle renomination rtp+ecn");
        assert_eq!(options.tokens().last(), Some("rtp+ecn"));
        assert!(!"trickle".parse::<IceOptions>().unwrap().ice2());
    }

    /// Req: 8839-5.6-a
    #[test]
    fn options_of_our_own_always_have_ice2() {
        assert_eq!(IceOptions::default().with(IceOptions::TRICKLE).unwrap().to_string(), "ice2 trickle");
        assert_eq!(IceOptions::default().with("ICE2").unwrap(), IceOptions::default());
        assert_eq!(IceOptions::default().with("two words"), Err(ParseIceOptionsError::Token(0)));
        assert_eq!(IceOptions::default().with(""), Err(ParseIceOptionsError::Token(0)));
    }

    #[test]
    fn a_list_has_at_most_64_options() {
        assert!("a ".repeat(64).parse::<IceOptions>().is_ok());
        assert_eq!("a ".repeat(65).parse::<IceOptions>(), Err(ParseIceOptionsError::TooMany(64)));
        assert_eq!("ab c\rd".parse::<IceOptions>(), Err(ParseIceOptionsError::Token(3)));
        assert!("".parse::<IceOptions>().unwrap().is_empty());
        assert_eq!("  a   b ".parse::<IceOptions>().unwrap().to_string(), "a b");
        assert_eq!("\tice2,trickle,\t x".parse::<IceOptions>().unwrap().to_string(), "ice2 trickle x");
        assert_eq!(IceOptions::empty().with("a,b"), Err(ParseIceOptionsError::Token(0)));
    }
}
