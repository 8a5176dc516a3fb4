//! cargo: locks, hard links, many small files, and times that decide what is fresh.

use mount_tests::Daemon;
use mount_tests::programs::{attempt, sh};
use std::path::Path;

/// Builds the crate in `root` and says what cargo did with it.
fn build(root: &Path, home: &Path) -> String {
    let cargo = Path::new(env!("CARGO"));
    let home = format!("CARGO_HOME={}", home.display());
    let compiler = format!("RUSTC={}", cargo.with_file_name("rustc").display());
    let build = ["build", "--offline", "--verbose", "--target-dir=target"];
    let output = attempt(
        root,
        "env",
        &[&[&home, &compiler, env!("CARGO")], &build[..]].concat(),
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said.lines()
        .map(str::trim_start)
        .filter(|line| {
            ["Fresh", "Dirty", "Compiling"]
                .iter()
                .any(|word| line.starts_with(word))
        })
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

#[test]
fn what_was_built_is_fresh() {
    let mount = Daemon::start();
    let crate_files = "
        mkdir src
        printf '[package]\\nname = \"tiny\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml
        echo 'fn main() { println!(\"cargo:rerun-if-changed=text\"); }' > build.rs
        echo 'pub const TEXT: &str = include_str!(\"../text\");' > src/lib.rs
        echo 'fn main() { print!(\"{}\", tiny::TEXT); }' > src/main.rs
        echo one > text";
    sh(mount.root(), crate_files);
    assert_eq!(build(mount.root(), mount.outside()), "Compiling tiny\n");
    assert_eq!(sh(mount.root(), "target/debug/tiny"), "one\n");
    assert_eq!(build(mount.root(), mount.outside()), "Fresh tiny\n");
    std::fs::write(mount.path("text"), "two\n").unwrap();
    assert_eq!(
        build(mount.root(), mount.outside()),
        "Dirty tiny\nCompiling tiny\n"
    );
    assert_eq!(sh(mount.root(), "target/debug/tiny"), "two\n");
    assert_eq!(build(mount.root(), mount.outside()), "Fresh tiny\n");
}
