//! The verbs and options of the program `norefs`.

mod apply;
mod bench;
mod changes;
mod checkpoint;
mod cli;
mod diff;
mod diff_random;
mod doctor;
mod fsmonitor;
mod keep;
mod kept;
mod layer;
mod ls;
mod metrics;
mod options;
mod prune;
mod rebase;
mod resume;
mod size_options;
