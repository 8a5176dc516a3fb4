//! Public test suites, which come from the crate registry as programs.

use std::fs::{File, create_dir_all, write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of the program of the crate `name`. Built below `place` when it is asked for the first time, which takes the
/// registry and half a minute; optimized for optimized tests.
///
/// `place` is the `CARGO_TARGET_TMPDIR` of the test.
pub fn program(place: &str, name: &str, version: &str) -> PathBuf {
    let place = Path::new(place).join("suites");
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    let root = place.join(format!("{name}-{version}-{profile}"));
    let program = root.join("bin").join(name);
    create_dir_all(&place).unwrap();
    let lock = File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    if !program.exists() {
        let install = Command::new(env!("CARGO"))
            .args(["install", "--quiet", "--locked", "--profile", profile, name])
            .args(["--version", &format!("={version}")])
            .args(["--root".as_ref(), root.as_os_str()])
            .args(["--target-dir".as_ref(), place.join("build").as_os_str()])
            .env("LIBRARY_PATH", libraries(&place))
            .output()
            .expect("cargo runs");
        let stderr = String::from_utf8_lossy(&install.stderr);
        assert!(install.status.success(), "installing {name}: {stderr}");
    }
    program
}

/// Where the linker finds what the suites name and do not use: pjdfstest takes nothing of libacl on Linux, whose
/// development package is seldom installed.
fn libraries(place: &Path) -> std::ffi::OsString {
    let own = place.join("libraries");
    create_dir_all(&own).unwrap();
    write(own.join("libacl.a"), "!<arch>\n").unwrap();
    let given = std::env::var_os("LIBRARY_PATH").unwrap_or_default();
    let all = std::iter::once(own).chain(std::env::split_paths(&given));
    std::env::join_paths(all).unwrap()
}
