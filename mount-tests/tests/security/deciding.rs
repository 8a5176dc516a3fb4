//! Where norefs decides about permissions itself: as strictly as a filesystem in the kernel, but for what the kernel does
//! not ask.

mod holes;
mod paths;
mod random;
