//! What remembers its own path goes on in the copy.

use super::{Ground, User};
use mount_tests::programs::{is_installed, sh};
use std::path::Path;

#[test]
fn a_configured_build_of_cmake_goes_on() {
    if !is_installed("cmake") {
        return;
    }
    let ground = Ground::new(User::Root);
    let files = "echo 'int main(void) { return 0; }' > main.c
        printf 'cmake_minimum_required(VERSION 3.13)\\nproject(tiny C)\\nadd_executable(tiny main.c)\\n' > CMakeLists.txt
        cmake -S . -B build > /dev/null; cmake --build build > /dev/null";
    sh(&ground.source, files);
    let script = "cmake -S . -B build > /dev/null; cmake --build build
        echo 'int main(void) { return 7; }' > main.c; cmake --build build; build/tiny || echo $?";
    let told = ground.said(&ground.source, &["--from", "."], script);
    let (before, after) = told.split_once("Building").expect("something is built");
    assert!(before.contains("Built target tiny"), "{told}");
    assert!(after.ends_with("7\n"), "{told}");
    sh(&ground.source, "build/tiny");
    ground.is_clean();
}

#[test]
fn a_virtual_environment_of_python_is_itself() {
    let ground = Ground::new(User::Root);
    let source = ground.from();
    let script = format!(
        "python3 -m venv --without-pip venv
         printf '#!{source}/venv/bin/python3\\nimport sys\\nopen(sys.prefix + \"/written\", \"w\")\\nprint(sys.prefix)\\n' \
         > venv/bin/tool; chmod +x venv/bin/tool"
    );
    sh(&ground.source, &script);
    let told = ground.said(
        &ground.source,
        &["--from", "."],
        "venv/bin/tool; ls venv/written",
    );
    assert_eq!(told, format!("{source}/venv\nvenv/written\n"));
    assert!(!ground.source.join("venv/written").exists());
    ground.is_clean();
}

#[test]
fn what_cargo_has_built_is_fresh() {
    let ground = Ground::new(User::Root);
    let files = "mkdir src; echo 'fn main() {}' > src/main.rs
        printf '[package]\\nname = \"tiny\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml";
    sh(&ground.source, files);
    let cargo = Path::new(env!("CARGO"));
    let build = format!(
        "CARGO_HOME={} RUSTC={} {} build --offline --verbose --target-dir {}/target 2>&1",
        ground.scratch.dir("home").display(),
        cargo.with_file_name("rustc").display(),
        cargo.display(),
        ground.from()
    );
    assert!(sh(&ground.source, &build).contains("Compiling tiny"));
    let script = format!(
        "{build}; echo 'fn main() {{ println!(\"new\") }}' > src/main.rs; {build}; target/debug/tiny"
    );
    let told = ground.said(&ground.source, &["--from", "."], &script);
    let (before, after) = told
        .split_once("Compiling tiny")
        .expect("something is built");
    assert!(before.contains("Fresh tiny"), "{told}");
    assert!(after.ends_with("new\n"), "{told}");
    assert_eq!(sh(&ground.source, "target/debug/tiny"), "");
    ground.is_clean();
}
