//! The `norefs` command.
fn main() {}
