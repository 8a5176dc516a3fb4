//! `norefs diff --tar`: what differs as a layer of an OCI image.

use mount_tests::posix::same_trees;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, sample, text};
use std::process::Output;

/// What a tool that knows layers does with the one at `$1` over the directory it stands in.
const PUT_OVER: &str = r#"
    tar -tf "$1" | grep '\.wh\.\.wh\.\.opq$' | while read -r mark; do
        find "$(dirname "$mark")" -mindepth 1 -delete
    done
    tar -tf "$1" | grep -v '\.wh\.\.wh\.\.opq$' | grep -E '(^|/)\.wh\.' | while read -r mark; do
        rm -r "$(dirname "$mark")/$(basename "$mark" | cut -c 5-)"
    done
    for mark in $(tar -tf "$1" | grep -v '/$'); do
        if test -d "$mark"; then rm -r "$mark"; fi
    done
    tar --xattrs --xattrs-include='*' --exclude='.wh.*' -xpf "$1"
"#;

fn layer(mount: &Daemon, file: &str) -> Output {
    let mut command = norefs();
    command.args(["diff", "--tar", file]).arg(mount.root());
    command.output().unwrap()
}

#[test]
fn put_over_the_source_it_gives_what_the_mount_is() {
    for changes in [
        "true",
        "rm -r d; echo n > d",
        "rm -r d; mkdir d; echo n > d/n; echo again > d/a",
        "mv d moved; echo more >> moved/sub/c; rm moved/a",
        "ln f third; echo more >> g; chmod 600 mode; setfattr -n user.x -v y d/a",
        "mv d/sub sub; rm -r d; mv sub d",
        "rm f; mkfifo f; ln -sf elsewhere link; mkdir -p e/$(printf 'n%.0s' $(seq 200))/x; cd e/n*/x; echo l > l",
        "truncate -s 1M sparse; touch -hd @1000000000.123456789 link g",
    ] {
        let (source, over, archive) = (Scratch::new(), Scratch::new(), Scratch::new());
        sh(
            &source,
            "mkdir d d/sub e; for f in d/a d/b d/sub/c f g mode; do echo $f > $f; done; ln f f2; ln -s f link",
        );
        sh(&over, &format!("cp -a {}/. .", source.display()));
        let mount = Daemon::with(&[source.to_str().unwrap()]);
        mount.stats();
        sh(mount.root(), changes);
        let file = archive.join("layer.tar");
        let output = layer(&mount, file.to_str().unwrap());
        assert!(output.status.success(), "{changes}: {output:?}");
        sh(&over, &format!("set -- {}; {PUT_OVER}", file.display()));
        same_trees(&over, mount.root());
        let times = "find . -printf '%p %y %m %T@\\n' | sort";
        assert_eq!(sh(&over, times), sh(mount.root(), times), "{changes}");
    }
}

#[test]
fn of_nothing_it_is_empty_and_goes_to_standard_output_too() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = Daemon::with(&[source.to_str().unwrap()]);
    mount.stats();
    let output = layer(&mount, "-");
    assert!(output.status.success(), "{output:?}");
    assert!(
        output.stdout.iter().all(|byte| *byte == 0),
        "an end, and no entry"
    );
}

#[test]
fn a_file_that_cannot_be_written_is_as_it_was() {
    let (source, archive) = (Scratch::new(), Scratch::new());
    let mount = Daemon::with(&[source.to_str().unwrap()]);
    mount.stats();
    let file = archive.join("missing/layer.tar");
    let output = layer(&mount, file.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("layer.tar"), "{output:?}");
    assert_eq!(std::fs::read_dir(&*archive).unwrap().count(), 0);
}
