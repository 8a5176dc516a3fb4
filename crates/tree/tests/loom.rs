//! Runs the loom stories in `src/sync/tests`, which need the primitives built with another
//! configuration:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --package norefs-tree --profile loom --lib --target-dir target/loom
//! ```
//!
//! Budget: building and exploring take about a minute on two CPUs.

use std::path::Path;
use std::process::Command;

#[test]
fn the_loom_stories_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .current_dir(root)
        .args([
            "test",
            "--package",
            "norefs-tree",
            "--profile",
            "loom",
            "--lib",
            "--locked",
        ])
        .arg("--target-dir")
        .arg(root.join("../../target/loom"))
        .env("RUSTFLAGS", "--cfg loom")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("loom_rename"), "the stories ran:\n{told}");
}
