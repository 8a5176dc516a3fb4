//! Servers for tests and measurements. Never part of a release build.

#[cfg(feature = "failpoints")]
pub mod constant;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod offline;
