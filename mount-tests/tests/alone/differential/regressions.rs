//! Sequences that once differed, as short as they could be made.

use crate::call::By::*;
use crate::call::Call::*;
use crate::call::{At, Call, Octal, Step};
use crate::compare::same;

#[test]
#[rustfmt::skip]
fn a_descriptor_of_a_file_with_privileges_is_handed_on() {
    same(&[
        Step { user: 0, look: false, call: Open { at: At(0, "a/c"), flags: Octal(0o102), mode: Octal(0o2775), slot: 0 } },
        Step { user: 1, look: true, call: Write { slot: 0, len: 7, byte: 97 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn root_changes_the_owner_of_a_file_with_set_group_id_that_no_group_executes() {
    same(&[
        Step { user: 0, look: false, call: Umask { mask: Octal(0o77) } },
        Step { user: 1, look: false, call: Open { at: At(0, "a/c"), flags: Octal(0o102), mode: Octal(0o2775), slot: 0 } },
        Step { user: 0, look: true, call: Chown { at: At(0, "a/c"), uid: Some(1000), gid: Some(1000), by: Path } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_name_of_no_namespace_needs_permission_first() {
    same(&[
        Step { user: 0, look: false, call: Unlink { at: At(0, "b"), directory: false } },
        Step { user: 0, look: false, call: Mkdir { at: At(0, "b"), mode: Octal(0o600) } },
        Step { user: 1, look: false, call: Set { at: At(0, "b"), name: "other.a", len: 1, flags: 0, by: Path } },
        Step { user: 1, look: false, call: Get { at: At(0, "b"), name: "other.a", room: 5, by: Path } },
        Step { user: 1, look: false, call: Remove { at: At(0, "b"), name: "other.a", by: Path } },
    ]);
}

#[test]
#[rustfmt::skip]
fn file_capabilities_without_bytes_stay() {
    same(&[
        Step { user: 0, look: false, call: Set { at: At(0, "b"), name: "security.capability", len: 0, flags: 0, by: Path } },
        Step { user: 0, look: true, call: Chown { at: At(3, ""), uid: Some(1000), gid: Some(1000), by: Slot } },
        Step { user: 1, look: true, call: Write { slot: 2, len: 7, byte: 97 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn an_allocation_without_room_takes_set_group_id() {
    same(&[
        Step { user: 1, look: true, call: Chmod { at: At(1, ""), mode: Octal(0o2775), by: Slot } },
        Step { user: 1, look: true, call: Allocate { slot: 0, mode: 16, offset: 65535, len: 1099511627776 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_refused_change_of_the_owner_takes_file_capabilities() {
    same(&[
        Step { user: 0, look: true, call: Set { at: At(0, "b"), name: "security.capability", len: 10, flags: 0, by: Path } },
        Step { user: 1, look: true, call: Chown { at: At(3, ""), uid: Some(1000), gid: Some(1000), by: Slot } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_second_write_through_a_map_moves_times() {
    same(&[
        Step { user: 0, look: true, call: Map { slot: 0, offset: 1266, len: 100, byte: 97, keep: true } },
        Step { user: 0, look: true, call: Map { slot: 0, offset: 0, len: 1, byte: 97, keep: false } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_hole_before_the_room_behind_the_end() {
    same(&[
        Step { user: 0, look: false, call: Allocate { slot: 2, mode: 1, offset: 4096, len: 1 } },
        Step { user: 0, look: true, call: Allocate { slot: 2, mode: 3, offset: 1, len: 10000 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_removed_directory_that_may_not_be_searched() {
    same(&[
        Step { user: 0, look: false, call: Chmod { at: At(0, "a/a"), mode: Octal(0o644), by: Path } },
        Step { user: 0, look: false, call: Open { at: At(0, "a/a"), flags: Octal(0o200000), mode: Octal(0o644), slot: 1 } },
        Step { user: 0, look: false, call: Unlink { at: At(0, "a/a"), directory: true } },
        Step { user: 1, look: false, call: Remove { at: At(2, "a"), name: "user.a", by: Path } },
        Step { user: 1, look: false, call: Mkdir { at: At(2, "a"), mode: Octal(0o644) } },
        Step { user: 1, look: false, call: Rename { from: At(2, "a"), to: At(0, "b"), flags: 0 } },
        Step { user: 1, look: false, call: Stat { at: At(2, "../b"), flags: 0, birth: false } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_device_where_nothing_may_be_made() {
    same(&[
        Step { user: 0, look: false, call: Mkdir { at: At(0, "c/c"), mode: Octal(0o2775) } },
        Step { user: 1, look: false, call: Mknod { at: At(0, "a/c/a"), kind: Octal(0o20000), mode: Octal(0o644), device: 259 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_directory_whose_name_a_stranger_was_refused() {
    same(&[
        Step { user: 0, look: false, call: Chmod { at: At(0, "."), mode: Octal(0o700), by: Path } },
        Step { user: 1, look: false, call: Set { at: At(0, "a"), name: "user.a", len: 1, flags: 0, by: Path } },
        Step { user: 0, look: false, call: Here { at: At(2, "a") } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_listing_whose_next_entry_is_removed() {
    same(&[
        Step { user: 0, look: false, call: LinkSlot { slot: 0, to: At(0, "a/c"), by_proc: false } },
        Step { user: 0, look: false, call: Walk { slot: 1, entries: 3 } },
        Step { user: 0, look: false, call: Walk { slot: 1, entries: 1 } },
        Step { user: 0, look: false, call: Unlink { at: At(0, "a/b"), directory: false } },
        Step { user: 0, look: false, call: Walk { slot: 1, entries: 2 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_new_name_behind_a_loop_and_an_old_one_that_may_not_be_searched() {
    same(&[
        Step { user: 0, look: false, call: Symlink { target: "c/c", at: At(0, "c/c") } },
        Step { user: 0, look: false, call: Chmod { at: At(0, "."), mode: Octal(0o700), by: Path } },
        Step { user: 1, look: false, call: Rename { from: At(0, "a"), to: At(2, "c/a"), flags: 0 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_refused_truncation_leaves_file_capabilities() {
    same(&[
        Step { user: 0, look: false, call: Set { at: At(3, ""), name: "security.capability", len: 10, flags: 0, by: Slot } },
        Step { user: 1, look: true, call: Open { at: At(0, "b"), flags: Octal(0o1000), mode: Octal(0o644), slot: 0 } },
        Step { user: 1, look: true, call: TruncatePath { at: At(0, "b"), size: 1 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_change_of_nothing_by_a_member_of_the_group() {
    same(&[
        Step { user: 1, look: true, call: Open { at: At(0, "a/c"), flags: Octal(0o102), mode: Octal(0o2745), slot: 0 } },
        Step { user: 2, look: true, call: Chown { at: At(0, "a/c"), uid: None, gid: None, by: Path } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_link_to_a_file_of_which_a_stranger_took_set_user_id() {
    same(&[
        Step { user: 0, look: false, call: Rename { from: At(0, "b"), to: At(0, "a/b"), flags: 0 } },
        Step { user: 0, look: false, call: Chown { at: At(3, ""), uid: Some(0), gid: Some(1000), by: Slot } },
        Step { user: 0, look: false, call: Chmod { at: At(0, "c/b"), mode: Octal(0o6777), by: Path } },
        Step { user: 1, look: false, call: Write { slot: 2, len: 7, byte: 97 } },
        Step { user: 1, look: false, call: Call::Link { from: At(0, "a/b"), to: At(0, "b"), flags: 0 } },
    ]);
}

#[test]
#[rustfmt::skip]
fn a_change_of_nothing_by_a_stranger_to_a_file_with_capabilities() {
    same(&[
        Step { user: 0, look: false, call: Set { at: At(3, ""), name: "security.capability", len: 10, flags: 0, by: Slot } },
        Step { user: 1, look: true, call: Chown { at: At(0, "b"), uid: None, gid: None, by: Path } },
    ]);
}
