//! The FUSE operations, as requests are counted and reported.

macro_rules! kinds {
    ($($kind:ident $name:literal),+ $(,)?) => {
        /// What a request asks for: a FUSE operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RequestKind {
            $(#[doc = concat!("`", $name, "`")] $kind),+
        }

        impl RequestKind {
            /// Every kind, in the order of the declaration.
            pub const ALL: &'static [RequestKind] = &[$(RequestKind::$kind),+];

            /// The name in lower case, as reports show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(RequestKind::$kind => $name),+
                }
            }
        }
    };
}

kinds! {
    Lookup "lookup", Forget "forget", Getattr "getattr", Setattr "setattr", Readlink "readlink",
    Symlink "symlink", Mknod "mknod", Mkdir "mkdir", Unlink "unlink", Rmdir "rmdir", Rename "rename",
    Link "link", Open "open", Read "read", Write "write", Statfs "statfs", Release "release",
    Fsync "fsync", Setxattr "setxattr", Getxattr "getxattr", Listxattr "listxattr",
    Removexattr "removexattr", Flush "flush", Opendir "opendir", Readdir "readdir",
    Readdirplus "readdirplus", Releasedir "releasedir", Fsyncdir "fsyncdir", Access "access",
    Create "create", Fallocate "fallocate", Lseek "lseek", CopyFileRange "copy_file_range", Syncfs "syncfs", Tmpfile "tmpfile",
    Statx "statx", Other "other",
}
