//! Counts steps, for the tests that show how the work grows with what an agent has.

#[cfg(test)]
std::thread_local! {
    static STEPS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// One more step: a look at a pair or a connection, or a change of an index. Outside of tests it is nothing.
#[inline]
pub(crate) fn count() {
    many(1);
}

/// So many more steps.
#[inline]
pub(crate) fn many(steps: usize) {
    #[cfg(test)]
    STEPS.with(|all| all.set(all.get() + steps as u64));
    #[cfg(not(test))]
    let _ = steps;
}

/// The steps since the last call.
#[cfg(test)]
pub(crate) fn take() -> u64 {
    STEPS.with(core::cell::Cell::take)
}
