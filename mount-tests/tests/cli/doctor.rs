//! `norefs doctor`, and the same advice in what is said of a mount that fails.

use mount_tests::{
    NOBODY, Scratch, is_mounted, is_refusal, norefs, norefs_as_nobody, norefs_as_ordinary_user,
    text,
};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

const TOPICS: [&str; 10] = [
    "kernel",
    "device",
    "ring",
    "fusermount3",
    "apparmor",
    "namespaces",
    "locked memory",
    "addresses",
    "memory of the group",
    "mount",
];

/// What was found of `topic`, as the verdict and all that was said.
fn found(output: &Output, topic: &str) -> (String, String) {
    let told: Value = serde_json::from_slice(&output.stdout).expect("findings are JSON");
    let all = told["findings"].as_array().unwrap();
    let topics: Vec<&str> = all
        .iter()
        .map(|one| one["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, TOPICS);
    let one = all.iter().find(|one| one["topic"] == topic).unwrap();
    let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    (
        word("verdict"),
        format!("{}; {}", word("says"), word("cure")),
    )
}

/// Runs `script` as root in a mount namespace of its own, with the arguments `$1`, `$2` and so on.
fn in_namespace(script: &str, arguments: &[&Path]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", script, "sh"]);
    command.args(arguments).output().unwrap()
}

#[test]
fn a_machine_that_mounts_is_told_so_and_left_as_it_was() {
    let scratch = Scratch::new();
    let temporary = scratch.dir("tmp");
    chown(&temporary, Some(NOBODY), Some(NOBODY)).unwrap();
    for mut command in [norefs(), norefs_as_ordinary_user(&scratch)] {
        let output = command
            .args(["doctor", "--json"])
            .env("TMPDIR", &temporary)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stdout));
        let (verdict, says) = found(&output, "mount");
        assert_eq!(verdict, "ok");
        assert!(says.contains(temporary.to_str().unwrap()), "{says}");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    }
    let place = scratch.dir("place");
    let output = norefs().arg("doctor").arg(&place).output().unwrap();
    let says = text(&output.stdout);
    assert!(output.status.success(), "{says}");
    for topic in TOPICS {
        assert!(says.contains(&format!(" {topic}: ")), "{topic}: {says}");
    }
    assert!(
        says.contains(&format!("made at {}", place.display())),
        "{says}"
    );
    assert!(!is_mounted(&place));
}

#[test]
fn a_machine_without_the_device_is_told_what_to_do_by_every_verb_that_mounts() {
    let scratch = Scratch::new();
    let (place, program) = (scratch.dir("place"), norefs());
    let program = Path::new(program.get_program());
    for verb in ["doctor --json", "mount", "mount -f", "run -- true"] {
        let last = if verb.starts_with("mount") {
            "\"$2\""
        } else {
            ""
        };
        let script = format!(
            "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; exec \"$1\" {verb} {last}"
        );
        let output = in_namespace(&script, &[program, &place]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{verb}: {}",
            text(&output.stderr)
        );
        let says = match verb {
            "doctor --json" => {
                let (verdict, says) = found(&output, "device");
                assert_eq!(verdict, "fail");
                assert_eq!(found(&output, "mount").0, "fail");
                says
            }
            _ => {
                assert!(is_refusal(&output), "{verb}: {}", text(&output.stderr));
                text(&output.stderr)
            }
        };
        assert!(says.contains("modprobe fuse"), "{verb}: {says}");
    }
}

#[test]
fn who_may_gain_no_rights_is_told_so() {
    let scratch = Scratch::new();
    let place = scratch.dir("place");
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    let norefs = norefs_as_nobody(&scratch);
    let bounded = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--no-new-privs",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
        command.arg(norefs.get_program()).args(arguments);
        command.env("XDG_RUNTIME_DIR", &*scratch).output().unwrap()
    };
    let output = bounded(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let (verdict, cure) = found(&output, "fusermount3");
    assert_eq!(verdict, "fail");
    assert!(cure.contains("no_new_privs"), "{cure}");
    let output = bounded(&["mount", place.to_str().unwrap()]);
    assert!(is_refusal(&output));
    assert!(
        text(&output.stderr).contains("no_new_privs"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_fusermount3_without_its_bit_that_comes_first_is_passed_over() {
    let scratch = Scratch::new();
    let (place, first) = (scratch.dir("place"), scratch.dir("first"));
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    let copy = first.join("fusermount3");
    std::fs::write(
        &copy,
        "#!/bin/sh\necho fusermount3: this is not the one >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", first.display(), std::env::var("PATH").unwrap());
    let run = |arguments: &[&str]| {
        let mut command = norefs_as_ordinary_user(&scratch);
        command.args(arguments).env("PATH", &path).output().unwrap()
    };
    let output = run(&["doctor", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let (verdict, says) = found(&output, "fusermount3");
    assert_eq!(verdict, "note");
    assert!(says.contains(copy.to_str().unwrap()), "{says}");
    let at = place.to_str().unwrap();
    for arguments in [&["mount", at][..], &["umount", at], &["run", "--", "true"]] {
        let output = run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(!is_mounted(&place));
}

/// Makes of the machine, for who runs in this namespace, one whose AppArmor lets fusermount3 mount nowhere but below `$3`; then runs
/// `$1` with what follows as an ordinary user, who keeps temporary files in `$2`.
const CONFINED: &str = "
    cp -p /usr/bin/fusermount3 $3/real
    printf '#!/bin/sh\nfor place; do :; done\ncase $place in
        '$3'/*) exec '$3'/real \"$@\" ;;
        *) echo \"/usr/bin/fusermount3: mount failed: Permission denied\" >&2; exit 1 ;;
        esac\n' >$3/fake
    chmod 4755 $3/fake
    mount --bind $3/fake /usr/bin/fusermount3
    cp -a /etc $3/etc
    mkdir -p $3/etc/apparmor.d
    echo 'profile fusermount3 {}' >$3/etc/apparmor.d/fusermount3
    mount --bind $3/etc /etc
    mount -t tmpfs none /sys/module
    mkdir -p /sys/module/apparmor/parameters
    echo Y >/sys/module/apparmor/parameters/enabled
    chmod 755 /sys/module
    norefs=$1 TMPDIR=$2 XDG_RUNTIME_DIR=$3/run
    export TMPDIR XDG_RUNTIME_DIR
    shift 3
    exec setpriv --reuid=65534 --regid=65534 --clear-groups $norefs \"$@\"";

#[test]
fn where_apparmor_denies_a_place_a_run_takes_another_and_a_mount_says_which_may_be_had() {
    let scratch = Scratch::new();
    let run = scratch.dir("run");
    let program = norefs_as_nobody(&scratch).get_program().to_owned();
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = elsewhere.path().join("place");
    std::fs::create_dir(&place).unwrap();
    for path in [&run, elsewhere.path(), &place] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let confined = |arguments: &[&Path]| {
        let first = [Path::new(&program), elsewhere.path(), &scratch];
        let output = in_namespace(CONFINED, &[&first, arguments].concat());
        std::fs::remove_dir_all(scratch.join("etc")).unwrap();
        output
    };
    let words = |words: &'static [&str]| words.iter().map(Path::new).collect::<Vec<_>>();

    let output = confined(&[Path::new("mount"), &place]);
    let says = text(&output.stderr);
    assert!(is_refusal(&output), "{says}");
    let line = format!("-> {}/{{,**/}},", place.display());
    assert!(
        says.contains(&line) && says.contains("/etc/apparmor.d/local/fusermount3"),
        "{says}"
    );

    let output = confined(&words(&["run", "--no-report", "--", "pwd"]));
    let (at, says) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{says}");
    assert!(at.starts_with(run.to_str().unwrap()), "{at}");
    assert_eq!(
        std::fs::read_dir(elsewhere.path()).unwrap().count(),
        1,
        "nothing stays"
    );

    let output = confined(&words(&["doctor", "--json"]));
    let (verdict, says) = found(&output, "apparmor");
    assert_eq!(verdict, "note", "{says}");
    assert_eq!(found(&output, "mount").0, "ok", "{}", text(&output.stdout));
}
