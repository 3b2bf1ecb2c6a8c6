//! The oracle.

#[cfg(test)]
mod tests;
