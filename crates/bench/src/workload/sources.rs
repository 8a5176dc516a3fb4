//! The files of the generated trees: their names, contents and times, the same in every run.

/// A file that is written.
pub struct File {
    /// Relative to the root of its tree.
    pub path: String,
    pub content: String,
    /// Seconds since 1970.
    pub modified: u64,
}

/// Long ago, so that no program takes a file for one that may just be changing.
const SOURCE: u64 = 1_000_000_000;
const PRODUCT: u64 = SOURCE + 1000;
/// How many files lie in one directory.
const LISTED: usize = 20;

fn source(path: String, content: String) -> File {
    File {
        path,
        content,
        modified: SOURCE,
    }
}

/// Text of 100 bytes to 6 KiB, shorter ones more often.
fn text(number: usize) -> String {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let length = 100 + random.usize(..2500) + random.usize(..60) * random.usize(..60);
    let line = || format!("{:016x} {:016x}\n", random.u64(..), random.u64(..));
    let mut text: String = std::iter::repeat_with(line).take(length / 34 + 1).collect();
    text.truncate(length);
    text
}

/// A project of `entries` files, 20 in a directory, 20 directories in one above.
pub fn files(entries: usize) -> impl Iterator<Item = File> {
    (0..entries).map(|n| {
        let (part, leaf) = (n / (LISTED * LISTED), n / LISTED);
        source(format!("src/p{part:03}/d{leaf:05}/f{n:06}.c"), text(n))
    })
}

/// A makefile with a rule for every ten of `entries`, each with a source and eight headers, and
/// everything made.
pub fn project(entries: usize) -> impl Iterator<Item = File> {
    let rules = (entries / 10).max(1);
    let headers = (rules / 10).max(1);
    let makefile = std::iter::once_with(move || {
        let mut lines = String::from("all: out/program\n\nout/program:");
        for n in 0..rules {
            lines += &format!(" {}", object(n));
        }
        lines += "\n\t@echo out of date: $@ >&2; false\n";
        for n in 0..rules {
            lines += &format!("{}: src/m{n:05}.c", object(n));
            for header in (0..8).map(|k| (n * 7 + k * 13) % headers) {
                lines += &format!(" include/h{header:05}.h");
            }
            lines += "\n\t@echo out of date: $@ >&2; false\n";
        }
        source("Makefile".to_owned(), lines)
    });
    let product = |path: String, content: String, later: u64| File {
        path,
        content,
        modified: PRODUCT + later,
    };
    let sources = (0..rules).map(|n| source(format!("src/m{n:05}.c"), text(n)));
    let headers = (0..headers).map(|n| source(format!("include/h{n:05}.h"), text(n)));
    let objects = (0..rules).map(move |n| product(object(n), text(n), 0));
    let program = std::iter::once_with(move || product("out/program".to_owned(), text(0), 1));
    makefile
        .chain(sources)
        .chain(headers)
        .chain(objects)
        .chain(program)
}

fn object(rule: usize) -> String {
    format!("out/o{:03}/m{rule:05}.o", rule / LISTED)
}

/// `node_modules` with a package for every ten of `entries`, and a program that requires each of
/// them from some directories below.
pub fn packages(entries: usize) -> impl Iterator<Item = File> {
    let packages = (entries / 10).max(1);
    let callers = packages.div_ceil(LISTED);
    let require = |name: String| format!("require('{name}');\n");
    let main = std::iter::once_with(move || {
        let all = (0..callers).map(|n| require(format!("./src/c{n:04}/lib/caller.js")));
        source("main.js".to_owned(), all.collect())
    });
    let manifest = std::iter::once_with(|| {
        let content = "{\"name\": \"bench\", \"version\": \"1.0.0\"}\n";
        source("package.json".to_owned(), content.to_owned())
    });
    let callers = (0..callers).map(move |n| {
        let own = n * LISTED..((n + 1) * LISTED).min(packages);
        let content = own.map(|n| require(format!("p{n:05}"))).collect();
        source(format!("src/c{n:04}/lib/caller.js"), content)
    });
    main.chain(manifest)
        .chain(callers)
        .chain((0..packages).flat_map(package))
}

/// A package needs at most one other, with a smaller number, so that the chains are short.
fn package(n: usize) -> [File; 5] {
    let within =
        |path: &str, content: String| source(format!("node_modules/p{n:05}/{path}"), content);
    let other = match n % 10 {
        0 => String::new(),
        _ => format!("require('p{:05}');\n", n / 10),
    };
    let manifest =
        format!("{{\"name\": \"p{n:05}\", \"version\": \"1.0.{n}\", \"main\": \"lib/index\"}}\n");
    [
        within("package.json", manifest),
        within("README.md", text(n)),
        within("LICENSE", text(0)),
        within(
            "lib/index.js",
            format!("require('./util');\n{other}exports.n = {n};\n"),
        ),
        within(
            "lib/util.js",
            format!("/*\n{}*/\nexports.n = {n};\n", text(n)),
        ),
    ]
}

/// Python packages of 20 modules, a module for every ten of `entries`, and a program that imports
/// each of them.
pub fn modules(entries: usize) -> impl Iterator<Item = File> {
    let modules = (entries / 10).max(1);
    let name = |n: usize| (format!("p{:04}", n / LISTED), format!("m{n:05}"));
    let main = std::iter::once_with(move || {
        let import = |n| {
            let (package, module) = name(n);
            format!("import {package}.{module}\n")
        };
        source("main.py".to_owned(), (0..modules).map(import).collect())
    });
    let inits = (0..modules).step_by(LISTED).map(move |n| {
        let (package, _) = name(n);
        source(format!("{package}/__init__.py"), String::new())
    });
    let modules = (0..modules).map(move |n| {
        let (package, module) = name(n);
        let content = format!(
            "\"\"\"{}\"\"\"\n\n\ndef number():\n    return {n}\n",
            text(n)
        );
        source(format!("{package}/{module}.py"), content)
    });
    main.chain(inits).chain(modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type Tree = fn(usize) -> Vec<File>;
    const TREES: [Tree; 4] = [
        |n| files(n).collect(),
        |n| project(n).collect(),
        |n| packages(n).collect(),
        |n| modules(n).collect(),
    ];

    #[test]
    fn no_two_files_have_one_name_and_each_tree_has_some() {
        for tree in TREES {
            for entries in [1, 20, 1000] {
                let files = tree(entries);
                let paths: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
                assert!(!files.is_empty() && paths.len() == files.len());
            }
        }
    }

    #[test]
    fn every_run_gets_the_same() {
        for tree in TREES {
            let pairs = tree(200).into_iter().zip(tree(200));
            assert!(
                pairs
                    .into_iter()
                    .all(|(a, b)| a.path == b.path && a.content == b.content)
            );
        }
    }

    #[test]
    fn sizes_vary_as_those_of_sources_do() {
        let sizes: Vec<_> = files(1000).map(|file| file.content.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((1500..3000).contains(&mean), "{mean}");
        assert!(sizes.iter().all(|size| (100..7000).contains(size)));
    }
}
