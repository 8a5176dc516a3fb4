//! Whether `docs/SEMANTICS.md` speaks of tests that are there, and of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/SEMANTICS.md");

/// The heading of what is listed without a promise.
const ELSEWHERE: &str = "## Tests of norefs itself";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What a name on the page means: tests on real mounts are named from their directory, others from the root.
fn path(name: &str) -> PathBuf {
    match ["src/", "tests/", "crates/", "mount-tests/"]
        .iter()
        .any(|head| name.starts_with(head))
    {
        true => root().join(name),
        false => root().join("mount-tests/tests").join(name),
    }
}

/// The tests of a file that run without being asked for.
fn tests(source: &str) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    let mut attributes = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            attributes.push(line);
            continue;
        }
        let is_test = attributes.contains(&"#[test]");
        let is_ignored = attributes.iter().any(|line| line.starts_with("#[ignore"));
        if let Some((name, _)) = line
            .strip_prefix("fn ")
            .and_then(|line| line.split_once('('))
            && is_test
            && !is_ignored
        {
            tests.insert(name);
        }
        attributes.clear();
    }
    tests
}

/// Each test the page names, as `file.rs::test`.
fn named() -> BTreeSet<(&'static str, &'static str)> {
    let names = quoted(PAGE).filter_map(|name| name.split_once("::"));
    names.filter(|(file, _)| file.ends_with(".rs")).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let mut sources = BTreeMap::new();
    let missing: Vec<_> = named()
        .into_iter()
        .filter(|(file, test)| {
            let source = sources
                .entry(*file)
                .or_insert_with(|| read_to_string(path(file)).unwrap_or_default());
            !tests(source).contains(test)
        })
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(named().len() > 100, "the page is read wrongly");
}

#[test]
fn every_row_names_a_test() {
    let (promises, _) = PAGE.split_once(ELSEWHERE).expect("the last heading");
    let begin = promises.find("## What").expect("the first promises");
    let rows = promises[begin..]
        .lines()
        .filter(|line| line.starts_with("| "));
    let is_head = |row: &&str| row.contains("| test |") || row.contains("| tests |");
    let without: Vec<_> = rows
        .filter(|row| !is_head(row) && !row.contains(".rs::") && !row.starts_with("|---"))
        .collect();
    assert!(
        without.is_empty(),
        "promises that nothing holds: {without:#?}"
    );
}

/// Every file below `dir` that has tests.
fn files(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !tests(&read_to_string(&path).unwrap()).is_empty()
        {
            found.insert(path);
        }
    }
}

#[test]
fn every_file_of_tests_is_named() {
    let (_, elsewhere) = PAGE.split_once(ELSEWHERE).expect("the last heading");
    let listed = quoted(elsewhere).filter(|name| name.ends_with(".rs"));
    let named: BTreeSet<PathBuf> = named()
        .into_iter()
        .map(|(file, _)| file)
        .chain(listed)
        .map(path)
        .collect();
    let dir = root().join("mount-tests/tests");
    let mut found = BTreeSet::new();
    files(&dir, &mut found);
    let left_out: Vec<_> = found.difference(&named).collect();
    assert!(left_out.is_empty(), "not on the page: {left_out:#?}");
    let gone: Vec<_> = named.iter().filter(|path| !path.exists()).collect();
    assert!(gone.is_empty(), "no such files: {gone:#?}");
}
