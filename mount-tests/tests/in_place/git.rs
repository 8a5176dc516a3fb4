//! Working trees whose repository is elsewhere.

use super::{Ground, each_user_of_several};
use mount_tests::programs::sh;
use mount_tests::text;
use std::path::{Path, PathBuf};

const COMMIT: &str = "git -c user.name=a -c user.email=a@b commit -qam";

/// Makes the repository `main` and gives everything to the user.
fn repository(ground: &Ground, more: &str) {
    let script =
        format!("git init -q main; cd main; echo one > f; git add f; {COMMIT} one; {more}");
    sh(&ground.scratch, &script);
    ground.hand_over();
}

/// What git says, asked by root.
fn git(at: &Path, line: &str) -> String {
    sh(at, &format!("git -c safe.directory='*' {line}"))
}

/// Commits in a copy of `tree`, which is told of once, and then with all it takes.
fn commits_stay(ground: &Ground, tree: &Path, repository: &Path) {
    let from = tree.to_str().unwrap();
    let also = repository.to_str().unwrap();
    let before = git(tree, "rev-parse HEAD");
    let script = format!("echo two > f; {COMMIT} two; git log --format=%s | head -n 1");
    let options = ["--from", from, "--also", also];
    assert_eq!(ground.said(tree, &options, &script), "two\n");
    assert_eq!(git(tree, "rev-parse HEAD"), before);
    assert_eq!(git(tree, "status --porcelain"), "");

    let output = ground.run(tree, &["--from", from], "git log --format=%s | head -n 1");
    let said = text(&output.stderr);
    assert_eq!(text(&output.stdout), "one\n", "{said}");
    let advice = format!("--also {also}");
    assert!(
        said.contains(&advice) && said.lines().count() == 1,
        "{said}"
    );
    // As it says.
    let output = ground.run(tree, &["--from", from], &script);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(git(tree, "rev-parse HEAD"), before);
    ground.is_clean();
}

#[test]
fn a_linked_worktree_keeps_its_commits_with_the_repository_beside_it() {
    each_user_of_several(|ground| {
        repository(&ground, "git worktree add -q ../linked");
        commits_stay(&ground, &ground.path("linked"), &ground.path("main/.git"));
    });
}

#[test]
fn a_submodule_keeps_its_commits_with_the_repository_of_the_whole() {
    each_user_of_several(|ground| {
        let submodule = "cd ..; git init -q outer; cd outer; \
            git -c protocol.file.allow=always submodule --quiet add ../main inner";
        repository(&ground, submodule);
        let inside: PathBuf = ground.path("outer/.git/modules/inner");
        commits_stay(&ground, &ground.path("outer/inner"), &inside);
    });
}

#[test]
fn a_directory_in_a_working_tree_is_told_of_too_and_a_whole_one_is_not() {
    each_user_of_several(|ground| {
        repository(&ground, "mkdir sub");
        let main = ground.path("main");
        let script = format!("echo two > f; {COMMIT} two");
        assert_eq!(ground.said(&main, &["--from", "."], &script), "");
        assert_eq!(git(&main, "log --format=%s"), "one\n");
        let output = ground.run(&main, &["--from", "sub"], "true");
        let advice = format!("--also {}", main.join(".git").display());
        assert!(text(&output.stderr).contains(&advice), "{output:?}");
        assert_eq!(
            ground.said(&main, &["--from", "sub", "--at", "private"], "true"),
            ""
        );
        ground.is_clean();
    });
}
