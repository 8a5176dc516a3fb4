//! Mounts made in the background, as people make them.

use crate::guard::{Scratch, force_unmount};
use crate::norefs;
use crate::transport::{self, Transport};
use rustix::process::Pid;
use std::path::PathBuf;
use std::process::Output;

/// A mount whose daemon is nobody's child here. Dropping it unmounts.
pub struct Background {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// A directory outside the mount that lives as long as it.
    pub scratch: Scratch,
}

impl Background {
    /// Runs `norefs mount` with `options` and waits until it says that the mount is ready.
    pub fn new(options: &[&str]) -> Background {
        let scratch = Scratch::new();
        let mountpoint = scratch.dir("mount");
        Background::start(transport::asked(), mountpoint, scratch, options)
    }

    /// As [`Background::new`]; what norefs says if it fails.
    pub fn attempt(options: &[&str]) -> Result<Background, String> {
        let scratch = Scratch::new();
        let mountpoint = scratch.dir("mount");
        Background::mounted(transport::asked(), mountpoint, scratch, options)
    }

    /// As [`Background::new`], at a directory of the caller's.
    pub fn at(mountpoint: PathBuf) -> Background {
        Background::on(transport::asked(), mountpoint)
    }

    /// As [`Background::at`], on a transport of the caller's choice.
    pub fn on(transport: Transport, mountpoint: PathBuf) -> Background {
        Background::start(transport, mountpoint, Scratch::new(), &[])
    }

    fn start(
        transport: Transport,
        mountpoint: PathBuf,
        scratch: Scratch,
        options: &[&str],
    ) -> Background {
        let mounted = Background::mounted(transport, mountpoint, scratch, options);
        mounted.unwrap_or_else(|said| panic!("{said}"))
    }

    fn mounted(
        transport: Transport,
        mountpoint: PathBuf,
        scratch: Scratch,
        options: &[&str],
    ) -> Result<Background, String> {
        let background = Background {
            mountpoint,
            scratch,
        };
        let mut arguments = transport::arguments(transport);
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = background.norefs("mount", &arguments);
        match output.status.success() {
            true => Ok(background),
            false => Err(text(&output.stderr)),
        }
    }

    /// Runs another verb on this mount.
    pub fn norefs(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = norefs();
        command.arg(verb).args(arguments).arg(&self.mountpoint);
        command.output().unwrap()
    }

    /// What `norefs stats --json` shows.
    pub fn stats(&self) -> serde_json::Value {
        let stats = self.norefs("stats", &["--json"]);
        assert!(stats.status.success(), "{}", text(&stats.stderr));
        serde_json::from_slice(&stats.stdout).expect("stats are JSON")
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Pid {
        let pid = self.stats()["pid"].as_i64().expect("a process id");
        Pid::from_raw(pid as i32).unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        force_unmount(&self.mountpoint);
    }
}

/// What a program wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Expects a command to fail with one line that names norefs.
#[track_caller]
pub fn refused(output: &Output) {
    let said = text(&output.stderr);
    assert!(is_refusal(output), "{}: {said}", output.status);
}

/// Whether a command failed with one line that names norefs.
pub fn is_refusal(output: &Output) -> bool {
    let said = text(&output.stderr);
    matches!(output.status.code(), Some(1 | 2))
        && said.lines().count() == 1
        && said.starts_with("norefs: ")
}
