//! A source with access control lists: nobody may do more in the tree than in the source.

mod source_support;

use rustix::fs::XattrFlags;
use source_support::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NOBODY_IN_PARTICULAR: u32 = u32::MAX;

fn set_list(path: &Path, entries: &[(u16, u16, u32)]) {
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(bits.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let name = "system.posix_acl_access";
    rustix::fs::setxattr(path, name, &list, XattrFlags::empty()).expect("the source keeps ACLs");
}

#[test]
fn a_mode_with_a_list_is_narrowed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["file", "dir"] {
        let path = dir.path().join(name);
        match name {
            "dir" => fs::create_dir(&path).unwrap(),
            _ => fs::write(&path, "content").unwrap(),
        }
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let entries = [
            (USER_OBJ, 6, NOBODY_IN_PARTICULAR),
            (USER, 7, 1234),
            (GROUP_OBJ, 0, NOBODY_IN_PARTICULAR),
            (MASK, 7, NOBODY_IN_PARTICULAR),
            (OTHER, 4, NOBODY_IN_PARTICULAR),
        ];
        set_list(&path, &entries);
        let shown = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(shown, 0o674, "the source shows the mask");
    }
    let tree = load_all(dir.path());
    for name in ["file", "dir"] {
        let loaded = child(&tree, norefs::tree::NodeId::ROOT, name.as_bytes());
        assert_eq!(loaded.unwrap().attr.perm, 0o604, "{name}");
    }
}
