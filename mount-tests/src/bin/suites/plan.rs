//! The suites.

/// Some tests that make a row of the table.
pub struct Suite {
    /// The first cell of the row.
    pub name: &'static str,
    /// Binaries of tests, or modules of them: `binary` or `binary::module`.
    pub files: &'static [&'static str],
    /// Which of their tests, as the module calls them; none for all that are not ignored.
    pub tests: &'static [&'static str],
    /// Which of their tests make the long form, if it has others.
    pub long: &'static [&'static str],
    /// What the environment says.
    pub environment: &'static [(&'static str, &'static str)],
    /// What it says besides in the long form.
    pub long_environment: &'static [(&'static str, &'static str)],
    /// Where it can be run.
    pub places: Places,
    /// What its cells count.
    pub counts: Counts,
}

/// Where a suite can be run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// On tmpfs and on each transport, one after the other.
    Everywhere,
    /// On each transport: it compares with tmpfs by itself, or needs a source.
    Norefs,
    /// On all at once: it mounts what it needs by itself.
    AtOnce,
}

/// What the cells of a suite count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// Its tests.
    Tests,
    /// What its tests tell.
    Told,
}

const EMPTY: Suite = Suite {
    name: "",
    files: &[],
    tests: &[],
    long: &[],
    environment: &[],
    long_environment: &[],
    places: Places::Everywhere,
    counts: Counts::Told,
};

/// Modules of tests about families of calls.
const CALLS: &[&str] = &[
    "calls::create",
    "calls::data",
    "calls::lookup",
    "calls::overlay",
    "security::permissions",
    "security::privileges",
    "calls::readdir",
    "calls::rename",
    "calls::setattr",
    "calls::special",
    "calls::statx",
    "coherence::stress",
    "calls::symlink",
    "calls::tmpfile",
    "calls::unlink",
    "calls::xattr",
];

/// All of them, in the order of the table.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "pjdfstest",
        files: &["suites::pjdfstest"],
        tests: &["what_passes_on_tmpfs_passes"],
        places: Places::AtOnce,
        ..EMPTY
    },
    Suite {
        name: "pjdfstest, `permissions=daemon`",
        files: &["suites::pjdfstest"],
        tests: &["what_passes_on_tmpfs_passes_where_norefs_decides"],
        places: Places::AtOnce,
        ..EMPTY
    },
    Suite {
        name: "calls, family by family",
        files: CALLS,
        counts: Counts::Tests,
        ..EMPTY
    },
    Suite {
        name: "calls, `permissions=daemon`",
        files: CALLS,
        environment: &[("MOUNT_TESTS_PERMISSIONS", "daemon")],
        places: Places::Norefs,
        counts: Counts::Tests,
        ..EMPTY
    },
    Suite {
        name: "access control lists",
        files: &["security::acl"],
        places: Places::Norefs,
        counts: Counts::Tests,
        ..EMPTY
    },
    Suite {
        name: "limits and remounts",
        files: &["calls::limits", "mount8", "shortage", "cli::size_options"],
        places: Places::Norefs,
        counts: Counts::Tests,
        ..EMPTY
    },
    Suite {
        name: "sizes, depths, handles and concurrence",
        files: &[
            "coherence::atomic",
            "calls::corners",
            "calls::deep",
            "handles",
            "source::huge_source",
            "calls::large",
            "calls::sizes",
            "user_namespaces",
        ],
        places: Places::Norefs,
        counts: Counts::Tests,
        ..EMPTY
    },
    Suite {
        name: "random calls beside tmpfs",
        files: &["differential"],
        tests: &["random_sequences"],
        long_environment: &[("DIFFERENTIAL_STEPS", "1000000")],
        places: Places::Norefs,
        ..EMPTY
    },
    Suite {
        name: "random calls of several at once",
        files: &["differential"],
        tests: &["concurrent::nothing_stays_stale_after_a_storm"],
        ..EMPTY
    },
    Suite {
        name: "fsx, files in memory",
        files: &["suites::fsx"],
        tests: &["a_file_in_memory"],
        long: &["a_file_in_memory_for_long"],
        ..EMPTY
    },
    Suite {
        name: "fsx, files of a source",
        files: &["suites::fsx"],
        tests: &["a_file_of_a_source"],
        long: &["a_file_of_a_source_for_long"],
        places: Places::Norefs,
        ..EMPTY
    },
    Suite {
        name: "known content, in memory",
        files: &["suites::known_content"],
        tests: &["made_on_the_mount"],
        long: &["made_on_the_mount_for_long"],
        ..EMPTY
    },
    Suite {
        name: "known content, of a source",
        files: &["suites::known_content"],
        tests: &["of_the_source"],
        long: &["of_the_source_for_long"],
        places: Places::Norefs,
        ..EMPTY
    },
    Suite {
        name: "known content, passed through",
        files: &["suites::known_content"],
        tests: &["passed_through"],
        long: &["passed_through_for_long"],
        places: Places::Norefs,
        ..EMPTY
    },
    Suite {
        name: "stress-ng",
        files: &["suites::stressors"],
        tests: &["names_under_stress", "contents_under_stress"],
        long: &["each_stressor_by_itself"],
        ..EMPTY
    },
    Suite {
        name: "fio with verification",
        files: &["suites::loads"],
        tests: &["fio_reads_what_it_wrote"],
        long: &["fio_reads_what_it_wrote_for_long"],
        ..EMPTY
    },
    Suite {
        name: "dbench",
        files: &["suites::loads"],
        tests: &["dbench_goes_through"],
        long: &["dbench_goes_through_for_long"],
        ..EMPTY
    },
    Suite {
        name: "postmark",
        files: &["suites::loads"],
        tests: &["postmark_counts_what_it_counts_on_tmpfs"],
        long: &["postmark_counts_what_it_counts_on_tmpfs_for_long"],
        ..EMPTY
    },
    Suite {
        name: "programs people run",
        files: &["workloads"],
        counts: Counts::Tests,
        ..EMPTY
    },
];

#[cfg(test)]
mod tests {
    use super::SUITES;
    use std::path::{Path, PathBuf};

    /// The modules of a binary, however deep, by their names.
    fn modules(dir: &Path) -> Vec<String> {
        let below = |path: PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut found = match path.is_dir() {
                true => modules(&path),
                false => Vec::new(),
            };
            if path.extension().is_some_and(|end| end == "rs") {
                found.push(name);
            }
            found
        };
        let entries = std::fs::read_dir(dir).unwrap();
        entries
            .flat_map(|entry| below(entry.unwrap().path()))
            .collect()
    }

    #[test]
    fn each_suite_names_what_is_there_and_a_filter_takes_no_other_module_along() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        for file in SUITES.iter().flat_map(|suite| suite.files) {
            let Some((binary, module)) = file.split_once("::") else {
                let alone = tests.join("alone").join(file);
                let places = [alone.with_extension("rs"), alone, tests.join(file)];
                assert!(places.iter().any(|place| place.exists()), "{file}");
                continue;
            };
            let all = modules(&tests.join(binary));
            let taken = all.iter().filter(|name| name.ends_with(module));
            assert_eq!(taken.collect::<Vec<_>>(), [module], "{file}");
        }
    }
}
