//! What one call of read or write is to the calls of other processes.
//!
//! Calls that write exclude each other, whatever they write and however long they are: the kernel holds the inode's lock
//! (`fuse_cache_write_iter`). Who reads through the cache may see a part of a call, on tmpfs as here, even inside one page
//! (`filemap_read` takes no lock). Who reads past it sees each call of at most `max_io` bytes whole.

use mount_tests::programs::run;
use mount_tests::transport::each;
use mount_tests::{Daemon, Tmpfs};

/// Runs a script in an empty norefs on each transport, with the kernel's cache and without.
fn on_norefs(script: &str, arguments: &[&str]) {
    for transport in each() {
        for options in ["allow_other", "allow_other,cache=none"] {
            let mount = Daemon::on(transport, &["-o", options]);
            run(
                mount.root(),
                "python3",
                &[&["-c", script], arguments].concat(),
            );
        }
    }
}

/// The same, and on tmpfs.
fn on_tmpfs_too(script: &str, arguments: &[&str]) {
    run(
        &Tmpfs::new(),
        "python3",
        &[&["-c", script], arguments].concat(),
    );
    on_norefs(script, arguments);
}

#[test]
fn records_that_processes_append_are_all_there_and_whole() {
    on_tmpfs_too(include_str!("atomic/append.py"), &[]);
}

#[test]
fn pages_written_at_once_are_one_call_s() {
    on_tmpfs_too(include_str!("atomic/overlap.py"), &["4096", "0"]);
}

#[test]
fn ranges_of_128_kib_that_overlap_are_written_one_after_the_other() {
    on_tmpfs_too(include_str!("atomic/overlap.py"), &["131072", "40960"]);
}

#[test]
fn ranges_larger_than_a_request_are_written_one_after_the_other() {
    on_tmpfs_too(include_str!("atomic/overlap.py"), &["3145728", "786432"]);
}

#[test]
fn so_are_those_written_past_the_cache() {
    on_tmpfs_too(
        include_str!("atomic/overlap.py"),
        &["1048576", "262144", "direct"],
    );
}

#[test]
fn who_reads_past_the_cache_sees_whole_calls() {
    for size in ["4096", "131072"] {
        on_norefs(include_str!("atomic/whole.py"), &[size]);
    }
    for size in ["4096", "131072", "1048576"] {
        on_norefs(include_str!("atomic/whole.py"), &[size, "direct"]);
    }
}

#[test]
fn who_reads_through_the_cache_sees_what_was_written_and_the_last_call_in_the_end() {
    for size in ["4096", "131072", "1048576"] {
        on_tmpfs_too(include_str!("atomic/cached.py"), &[size]);
    }
}
