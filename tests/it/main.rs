//! test binary
