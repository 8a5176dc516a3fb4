//! What several proofs share: an exhaustive search of a model's states ([`explore`]), and a monitor that
//! decides whether a concurrent history is one that a sequential object could have produced
//! ([`linearize`]).

pub mod explore;
pub mod linearize;
