//! The file of `--html`.

use anyhow::{Context, anyhow, bail};
use norefs_bench::Report;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// A page that is there as soon as it is complete.
pub struct Page {
    path: PathBuf,
    file: NamedTempFile,
}

impl Page {
    /// Makes sure that the page can be written, before there is anything to write.
    pub fn open(path: &Path) -> anyhow::Result<Page> {
        let shown = path.display();
        if path.exists() && !path.is_file() {
            bail!("--html {shown} is not a file");
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = Builder::new();
        builder
            .prefix(".norefs-bench-")
            .permissions(Permissions::from_mode(0o666));
        let file = builder.tempfile_in(parent);
        Ok(Page {
            path: path.to_owned(),
            file: file.with_context(|| format!("--html {shown}"))?,
        })
    }

    pub fn write(mut self, report: &Report) -> anyhow::Result<()> {
        let shown = self.path.display();
        let page = report.to_html().map_err(|error| anyhow!(error))?;
        self.file
            .write_all(page.as_bytes())
            .with_context(|| format!("--html {shown}"))?;
        let kept = self.file.persist(&self.path);
        kept.map(drop).with_context(|| format!("--html {shown}"))
    }
}
