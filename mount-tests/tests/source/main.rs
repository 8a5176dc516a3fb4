//! Trees that are loaded from a directory, however large, slow or odd it is.

mod huge_source;
mod slow_load;
mod slow_reads;
mod slow_source;
mod source;
mod untold;
mod warm;
