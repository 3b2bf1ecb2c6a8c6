//! Randomness: a seed from the caller, expanded by ChaCha12.

use core::fmt;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};

/// 32 bytes from which everything random of an agent is drawn.
///
/// The same seed and the same input give the same output, byte for byte. Outside of tests it has to come from a
/// cryptographic source: credentials and transaction IDs are as unguessable as the seed is (RFC 8445 §5.3, RFC 8489 §5).
/// Never use one twice.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from the operating system's cryptographic source.
    ///
    /// # Errors
    /// [`SeedError`] if the operating system has none to give.
    #[cfg(feature = "os-rng")]
    pub fn from_os() -> Result<Self, SeedError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| SeedError)?;
        Ok(Self(bytes))
    }

    /// A seed for tests and simulations, made from a name. It is anything but secret.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(name.as_bytes()).into())
    }

    /// Another seed that follows from this one and a name.
    #[cfg(feature = "sim")]
    pub(crate) fn derive(&self, name: &str) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::new().chain_update(self.0).chain_update(name.as_bytes()).finalize().into())
    }

    /// A seed for tests and simulations, made from a number. It is anything but secret.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(number.to_be_bytes()).into())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The operating system gave no randomness.
#[cfg(feature = "os-rng")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
#[non_exhaustive]
pub struct SeedError;

/// The expansion of a [`Seed`].
#[derive(Clone)]
pub(crate) struct Random(ChaCha12Rng);

impl Random {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed.0))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, uniform but for a bias below `bound / 2^64`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// True with this probability. Certain outcomes draw nothing.
    #[cfg(feature = "sim")]
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // The 53 upper bits are what an `f64` holds exactly: uniform in [0, 1).
        const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0;
        if probability <= 0.0 {
            return false;
        }
        probability >= 1.0 || ((self.u64() >> 11) as f64) * UNIT < probability
    }

    /// A duration from zero up to and including `longest`. Zero draws nothing.
    #[cfg(feature = "sim")]
    pub(crate) fn up_to(&mut self, longest: core::time::Duration) -> core::time::Duration {
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 {
            return core::time::Duration::ZERO;
        }
        core::time::Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let draw = |seed: &Seed| Random::new(seed).u64();
        assert_eq!(draw(&Seed::from_name("a")), draw(&Seed::from_name("a")));
        assert_ne!(draw(&Seed::from_name("a")), draw(&Seed::from_name("b")));
        assert_ne!(draw(&Seed::from_number(0)), draw(&Seed::from_number(1)));
    }

    #[test]
    fn a_bounded_number_stays_below_its_bound() {
        let mut random = Random::new(&Seed::from_number(7));
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| random.below(3) < 3));
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_chance_comes_true_as_often_as_it_says() {
        let mut random = Random::new(&Seed::from_number(7));
        assert!((0..100).all(|_| !random.chance(0.0) && random.chance(1.0) && !random.chance(f64::NAN)));
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits} of 10000");
    }

    #[cfg(feature = "sim")]
    #[test]
    fn a_random_duration_stays_within_its_limit() {
        use core::time::Duration;
        let mut random = Random::new(&Seed::from_number(7));
        assert_eq!(random.up_to(Duration::ZERO), Duration::ZERO);
        assert!((0..1000).all(|_| random.up_to(Duration::from_nanos(2)) <= Duration::from_nanos(2)));
    }

    /// Req: proj-ct-a
    #[test]
    fn a_seed_is_not_printed() {
        assert_eq!(format!("{:?}", Seed::from_number(1)), "Seed(..)");
        assert_eq!(format!("{:?}", Random::new(&Seed::from_number(1))), "Random(..)");
    }
}
