//! `norefs prune`, and what `norefs ls` says of what was kept.

use mount_tests::programs::sh;
use mount_tests::{Scratch, norefs, text};
use std::path::Path;
use std::process::Output;

/// Sources, and a state directory that has what was kept of each.
struct Ground {
    sources: Vec<Scratch>,
    state: Scratch,
}

impl Ground {
    fn new(count: usize) -> Ground {
        let ground = Ground {
            sources: (0..count).map(|_| Scratch::new()).collect(),
            state: Scratch::new(),
        };
        for source in &ground.sources {
            let at = source.to_str().unwrap();
            let kept = ground.norefs(&[
                "run",
                "--from",
                at,
                "--then",
                "keep",
                "--",
                "sh",
                "-c",
                &format!("echo new > {at}/new"),
            ]);
            assert!(kept.status.success(), "{kept:?}");
        }
        ground
    }

    fn norefs(&self, arguments: &[&str]) -> Output {
        let mut command = norefs();
        command.args(arguments).env("XDG_STATE_HOME", &*self.state);
        command.output().unwrap()
    }

    /// What a call prints.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.norefs(arguments);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    fn names(&self) -> String {
        sh(&self.state.join("norefs/kept"), "ls")
    }
}

fn name(source: &Path) -> String {
    format!("{}-1.tar", source.file_name().unwrap().to_str().unwrap())
}

#[test]
fn what_was_kept_of_a_source_that_is_gone_is_removed_and_nothing_else() {
    let ground = Ground::new(3);
    let all = ground.names();
    assert_eq!(ground.said(&["prune"]), "");
    let gone = &ground.sources[1];
    std::fs::remove_dir_all(&**gone).unwrap();
    sh(
        &ground.state,
        "echo text > norefs/kept/zz-1.tar; echo x > norefs/kept/other",
    );
    let would = ground.said(&["prune", "--dry-run"]);
    assert!(
        would.starts_with("would remove ") && would.contains(&name(gone)),
        "{would}"
    );
    assert!(
        would.contains(&format!("{} is gone", gone.display())),
        "{would}"
    );
    assert!(ground.names().contains(&all));
    let did = ground.said(&["prune"]);
    assert_eq!(did, would.replace("would remove", "removed"));
    let left: Vec<_> = ground.names().lines().map(str::to_owned).collect();
    let mut expected: Vec<_> = [0, 2].map(|at| name(&ground.sources[at])).into();
    expected.extend(["other", "zz-1.tar"].map(str::to_owned));
    expected.sort();
    let mut left = left;
    left.sort();
    assert_eq!(left, expected);
    std::fs::create_dir(&**gone).unwrap();
}

#[test]
fn what_is_old_is_removed_on_request() {
    let ground = Ground::new(2);
    assert_eq!(ground.said(&["prune", "--older-than", "30d"]), "");
    let removed = ground.said(&["prune", "--older-than", "0s"]);
    // What was kept in this second is no older.
    assert!(removed.lines().count() <= 2, "{removed}");
    assert!(mount_tests::wait_until(|| {
        ground.said(&["prune", "--older-than", "0s"]);
        ground.names().is_empty()
    }));
    let refused = ground.norefs(&["prune", "--older-than", "soon"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn ls_tells_source_age_changes_and_size() {
    let ground = Ground::new(1);
    let listed = ground.said(&["ls"]);
    let line = listed
        .lines()
        .find(|line| line.contains(&name(&ground.sources[0])));
    let line = line.unwrap_or_else(|| panic!("{listed}"));
    let source = ground.sources[0].to_str().unwrap();
    assert!(
        line.contains(source)
            && line.contains(" kept ")
            && line.contains("1 change")
            && line.contains("KiB"),
        "{line}"
    );
    let told: serde_json::Value = serde_json::from_str(&ground.said(&["ls", "--json"])).unwrap();
    let rows = told.as_array().unwrap().iter();
    let kept: Vec<_> = rows.filter(|row| row["state"] == "kept").collect();
    assert_eq!(kept.len(), 1, "{told}");
    assert_eq!(
        (&kept[0]["source"], &kept[0]["changes"]),
        (&source.into(), &1.into())
    );
    assert!(
        kept[0]["bytes"].as_u64().unwrap() > 1024 && kept[0]["age_seconds"].as_u64().unwrap() < 600,
        "{told}"
    );
}
