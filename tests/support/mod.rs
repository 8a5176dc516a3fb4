//! What several of the proofs share.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub mod explore;
pub mod linearize;
