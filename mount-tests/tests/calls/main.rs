//! What each family of calls does to names, attributes and content, and what of it differs from tmpfs.

mod content;
mod corners;
mod create;
mod data;
mod deep;
mod dirty_maps;
mod exceptions;
mod flags;
mod holes;
mod large;
mod limits;
mod lookup;
mod overlay;
mod readdir;
mod rename;
mod setattr;
mod sizes;
mod special;
mod statx;
mod symlink;
mod tmpfile;
mod unlink;
mod xattr;
