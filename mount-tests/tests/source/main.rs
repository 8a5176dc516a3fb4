//! Trees that are loaded from a directory, however large, slow or odd it is.

mod following;
mod following_random;
mod huge_source;
mod same;
mod slow_load;
mod slow_reads;
mod slow_source;
mod source;
mod untold;
mod warm;
