//! Calls on extended attributes.

use crate::call::{At, By, Call};
use crate::content::digest;
use crate::perform::{Answer, Files, nothing};
use mount_tests::posix::{CAPABILITY, CAPABLE};
use rustix::fs::{self, XattrFlags};

impl Files {
    /// Makes a call on extended attributes.
    pub fn xattr(&self, call: &Call) -> Answer {
        let slot = |at: At| self.slot(at.0.saturating_sub(1));
        match *call {
            Call::Set {
                at,
                name,
                len,
                flags,
                by,
            } => {
                let (value, flags) = (value(name, len), XattrFlags::from_bits_retain(flags));
                nothing(match by {
                    By::Path => fs::setxattr(at.1, name, &value, flags),
                    By::Link => fs::lsetxattr(at.1, name, &value, flags),
                    By::Slot => fs::fsetxattr(slot(at)?, name, &value, flags),
                })
            }
            Call::Get { at, name, room, by } => {
                let mut value = vec![0; room];
                let length = match by {
                    By::Path => fs::getxattr(at.1, name, &mut value[..]),
                    By::Link => fs::lgetxattr(at.1, name, &mut value[..]),
                    By::Slot => fs::fgetxattr(slot(at)?, name, &mut value[..]),
                }?;
                value.truncate(length);
                Ok(format!("{length}: {}", digest(&value)))
            }
            Call::Names { at, room, by } => {
                let mut names = vec![0; room];
                let length = match by {
                    By::Path => fs::listxattr(at.1, &mut names[..]),
                    By::Link => fs::llistxattr(at.1, &mut names[..]),
                    By::Slot => fs::flistxattr(slot(at)?, &mut names[..]),
                }?;
                names.truncate(length);
                let mut listed: Vec<_> = names.split(|byte| *byte == 0).collect();
                listed.sort_unstable();
                let listed = String::from_utf8_lossy(&listed.join(&b' ')).into_owned();
                Ok(format!("{length}: {listed}"))
            }
            Call::Remove { at, name, by } => nothing(match by {
                By::Path => fs::removexattr(at.1, name),
                By::Link => fs::lremovexattr(at.1, name),
                By::Slot => fs::fremovexattr(slot(at)?, name),
            }),
            _ => unreachable!("{call:?} is not about extended attributes"),
        }
    }
}

fn value(name: &str, len: usize) -> Vec<u8> {
    match name == CAPABILITY && len > 1 {
        true => CAPABLE.to_vec(),
        false => vec![b'v'; len],
    }
}
