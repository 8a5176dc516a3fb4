//! Differences as a patch that git(1) and patch(1) take.

use super::content::{Contents, Unread};
use super::{Change, PathBytes, Seen, What};
use crate::tree::Kind;
use similar::TextDiff;
use std::io::{self, Write};
use std::time::Duration;

/// Files are not searched any longer than this for the smallest difference: there may be a smaller one then.
const PATIENCE: Duration = Duration::from_secs(5);

/// Larger files are named, not compared.
const LARGE: u64 = 64 << 20;

/// A file with a NUL in so many first bytes is not text, as git has it.
const LOOKED_AT: usize = 8000;

const NOWHERE: &str = "/dev/null";

/// Writes `change` as git shows it. What no patch can say, such as an owner, a directory or a pipe, is a line that begins with `#`.
///
/// # Errors
/// [`Unread`] if content that is needed cannot be had; nothing was written then. What `out` fails with comes as
/// [`Unread::Failed`].
pub fn patch(change: &Change, contents: &Contents<'_>, out: &mut impl Write) -> Result<(), Unread> {
    let mut text = Vec::new();
    let before = change.base.as_ref().filter(|base| is_told(&base.seen));
    let after = change.now.as_ref().filter(|now| is_told(&now.seen));
    let old = before.map(|base| Side {
        path: &base.path,
        mode: mode(&base.seen),
        size: base.seen.size,
    });
    let new = after.map(|now| Side {
        path: &now.path,
        mode: mode(&now.seen),
        size: now.seen.size,
    });
    let read_old = || before.map_or(Ok(Vec::new()), |base| contents.was(base));
    let read_new = || after.map_or(Ok(Vec::new()), |now| contents.is(now));
    match (old, new) {
        (None, None) => {}
        (Some(old), Some(new)) if change.what != What::Retyped => {
            headers(&mut text, change, &old, &new)?;
            let head = text.len();
            if change.content {
                compare(&mut text, Some(&old), Some(&new), read_old, read_new)?;
            }
            if text.len() == head && old.path == new.path && old.mode == new.mode {
                // It was written to, and the bytes are the same.
                text.clear();
            }
        }
        (old, new) => {
            if let Some(old) = &old {
                one(&mut text, old, "deleted")?;
                compare(&mut text, Some(old), None, read_old, || Ok(Vec::new()))?;
            }
            if let Some(new) = &new {
                one(&mut text, new, "new")?;
                compare(&mut text, None, Some(new), || Ok(Vec::new()), read_new)?;
            }
        }
    }
    if text.is_empty() {
        writeln!(text, "# {change}")?;
    }
    Ok(out.write_all(&text)?)
}

/// A file or a link, before or after.
struct Side<'a> {
    path: &'a PathBytes,
    mode: u32,
    size: u64,
}

/// Whether a patch can say what it is.
fn is_told(seen: &Seen) -> bool {
    matches!(seen.kind(), Some(Kind::Regular | Kind::Symlink))
}

/// The mode as git knows it.
fn mode(seen: &Seen) -> u32 {
    match seen.kind() {
        Some(Kind::Symlink) => 0o120_000,
        _ if seen.mode & 0o100 != 0 => 0o100_755,
        _ => 0o100_644,
    }
}

fn one(text: &mut Vec<u8>, side: &Side<'_>, word: &str) -> io::Result<()> {
    let (a, b) = (quoted("a/", side.path), quoted("b/", side.path));
    writeln!(
        text,
        "diff --git {a} {b}\n{word} file mode {:06o}",
        side.mode
    )
}

/// What comes before the content of something that was and is.
fn headers(text: &mut Vec<u8>, change: &Change, old: &Side<'_>, new: &Side<'_>) -> io::Result<()> {
    let moved = old.path != new.path;
    if !moved && !change.content && old.mode == new.mode {
        return Ok(());
    }
    let (a, b) = (quoted("a/", old.path), quoted("b/", new.path));
    writeln!(text, "diff --git {a} {b}")?;
    if old.mode != new.mode {
        writeln!(text, "old mode {:06o}\nnew mode {:06o}", old.mode, new.mode)?;
    }
    if moved {
        let (from, to) = (quoted("", old.path), quoted("", new.path));
        writeln!(text, "rename from {from}\nrename to {to}")?;
    }
    Ok(())
}

fn compare(
    text: &mut Vec<u8>,
    old: Option<&Side<'_>>,
    new: Option<&Side<'_>>,
    read_old: impl FnOnce() -> Result<Vec<u8>, Unread>,
    read_new: impl FnOnce() -> Result<Vec<u8>, Unread>,
) -> Result<(), Unread> {
    let name = |side: Option<&Side<'_>>, head| {
        side.map_or(NOWHERE.to_owned(), |side| quoted(head, side.path))
    };
    let (a, b) = (name(old, "a/"), name(new, "b/"));
    let large = |side: Option<&Side<'_>>| side.is_some_and(|side| side.size > LARGE);
    if large(old) || large(new) {
        writeln!(text, "Binary files {a} and {b} differ")?;
        return Ok(());
    }
    let (old, new) = (read_old()?, read_new()?);
    if old == new {
        return Ok(());
    }
    if is_binary(&old) || is_binary(&new) {
        writeln!(text, "Binary files {a} and {b} differ")?;
        return Ok(());
    }
    let mut config = TextDiff::configure();
    let diff = config.timeout(PATIENCE).diff_lines(&old[..], &new[..]);
    let mut unified = diff.unified_diff();
    unified.header(&a, &b).to_writer(text)?;
    Ok(())
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(LOOKED_AT)].contains(&0)
}

/// The path behind `head` as git writes it: in quotes, with octal numbers for bytes that are not printable ASCII, if need be.
fn quoted(head: &str, path: &PathBytes) -> String {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    let bytes = path.as_bytes();
    let mut shown = head.to_owned();
    for byte in bytes {
        match byte {
            byte if plain(byte) => shown.push(char::from(*byte)),
            b'"' | b'\\' => shown.extend(['\\', char::from(*byte)]),
            byte => shown += &format!("\\{byte:03o}"),
        }
    }
    match bytes.iter().all(plain) {
        true => shown,
        false => format!("\"{shown}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_git_quotes_them() {
        let quoted = |bytes: &[u8]| quoted("a/", &bytes.to_vec().into());
        assert_eq!(quoted(b"plain name"), "a/plain name");
        assert_eq!(quoted(b"\"x\\"), "\"a/\\\"x\\\\\"");
        assert_eq!(quoted(b"\n\xff\x7f"), "\"a/\\012\\377\\177\"");
    }
}
