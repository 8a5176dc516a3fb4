//! Sequences that once differed, as short as they could be made.

use crate::call::Call::*;
use crate::call::{At, Octal, Step};
use crate::same;

#[test]
#[rustfmt::skip]
fn a_descriptor_of_a_file_with_privileges_is_handed_on() {
    same(&[
        Step { user: 0, look: false, call: Open { at: At(0, "b"), flags: Octal(0o102), mode: Octal(0o2775), slot: 0 } },
        Step { user: 1, look: true, call: Write { slot: 0, len: 7, byte: 97 } },
    ]);
}
