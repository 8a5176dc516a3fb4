//! The files in which a machine tells of itself.

use std::path::{Path, PathBuf};

/// A machine, known by the files below its root.
#[derive(Clone, Debug)]
pub struct Machine(PathBuf);

impl Machine {
    /// The one this process runs on.
    pub fn here() -> Machine {
        Machine(PathBuf::from("/"))
    }

    /// One whose files are below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Machine {
        Machine(root.into())
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// What a file says, without blanks around it.
    pub(super) fn says(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    pub(super) fn is(&self, path: &str, value: &str) -> bool {
        self.says(path).is_some_and(|says| says == value)
    }

    /// What the files in `directory` say whose names end with `suffix`.
    pub(super) fn all_in(&self, directory: &str, suffix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).into_iter();
        let paths = entries.flatten().flatten().map(|entry| entry.path());
        let wanted = paths.filter(|path| path.to_string_lossy().ends_with(suffix));
        wanted
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }
}

/// Whether `path` is below `above`, and not that itself.
pub(super) fn is_below(path: &Path, above: &str) -> bool {
    path != Path::new(above) && path.starts_with(above)
}

#[cfg(test)]
pub(super) mod testing {
    use super::Machine;
    use tempfile::TempDir;

    /// A machine that has these files, as long as the directory lives.
    pub(in crate::doctor) fn with(files: &[(&str, &str)]) -> (TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::below(dir.path());
        for (path, text) in files {
            let path = machine.path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (dir, machine)
    }
}
