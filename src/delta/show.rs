//! A difference on one line, for people.

use super::{Change, Metadata, Seen, What};
use crate::tree::Kind;
use std::fmt;

/// A letter, the path, and in parentheses what the letter does not say: `A path`, `D path`, `M path`, `R from -> to`, `T path`,
/// `m path (mode)`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", letter(self.what))?;
        let from = self.base.as_ref().map(|base| &base.path);
        if let Some(from) = from.filter(|from| self.what == What::Moved && *from != self.path()) {
            write!(f, "{from} -> ")?;
        }
        write!(f, "{}", self.path())?;
        let details = details(self);
        match details.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", details.join(", ")),
        }
    }
}

fn letter(what: What) -> char {
    match what {
        What::Added => 'A',
        What::Removed => 'D',
        What::Content => 'M',
        What::Moved => 'R',
        What::Retyped => 'T',
        What::Metadata => 'm',
    }
}

/// What the letter does not say.
fn details(change: &Change) -> Vec<String> {
    let mut details = Vec::new();
    let both = change.base.as_ref().zip(change.now.as_ref());
    if let Some((base, now)) = both.filter(|_| change.what == What::Retyped) {
        details.push(format!("{} -> {}", kind(&base.seen), kind(&now.seen)));
    }
    if change.what == What::Moved && change.content {
        details.push("content".to_owned());
    }
    if change.what == What::Metadata && change.replaced {
        details.push("replaced".to_owned());
    }
    if matches!(change.what, What::Content | What::Moved | What::Metadata) {
        details.extend(attributes(change));
    }
    if let Some(link) = &change.link {
        details.push(format!("link to {link}"));
    }
    details
}

fn attributes(change: &Change) -> impl Iterator<Item = String> {
    let Metadata {
        mode,
        owner,
        mtime,
        xattrs,
        acl,
    } = change.metadata;
    let now = change.now.as_ref();
    // Other content has another time, and so has a directory with other names.
    let directory = now.is_some_and(|now| now.seen.is_directory());
    let differ = [
        (mode, "mode"),
        (owner, "owner"),
        (mtime && !change.content && !directory, "mtime"),
        (xattrs, "xattrs"),
        (acl, "acl"),
    ];
    let named = differ.into_iter().filter(|(differs, _)| *differs);
    named.map(|(_, name)| name.to_owned())
}

fn kind(seen: &Seen) -> &'static str {
    match seen.kind() {
        Some(Kind::Regular) => "file",
        Some(Kind::Directory) => "directory",
        Some(Kind::Symlink) => "symbolic link",
        Some(Kind::Fifo) => "pipe",
        Some(Kind::Socket) => "socket",
        Some(Kind::CharDevice | Kind::BlockDevice) => "device",
        None => "unknown",
    }
}
