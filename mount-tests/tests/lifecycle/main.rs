//! How mounts begin, where, for whom, and how they end.

mod ends;
mod fork;
mod lifecycle;
mod places;
mod service;
mod users;
