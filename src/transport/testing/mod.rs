//! Servers for tests and measurements. Never part of a release build.

#[cfg(feature = "seams")]
pub mod constant;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod offline;
