//! What people do all day, done on a mount: each program's own checks must hold, and what it
//! leaves must be what it leaves on tmpfs.

mod cargo;
mod copies;
mod git;
mod inotify;
mod locks;
mod make;
mod npm;
mod python;
mod rsync;
mod sqlite;
mod tar;
mod tools;
