//! The tree every contender is built from, and the sequences of targets all of them are asked for.

/// Every name: 16 bytes, unique in the tree.
pub type Name = [u8; 16];

/// Entries of one directory that holds files.
const FANOUT: usize = 100;
/// Directories at level 3 to 7 hold files, so that paths have 4 to 8 components.
const FILE_LEVELS: std::ops::RangeInclusive<usize> = 3..=7;
/// One file in this many is a symbolic link.
const SYMLINK_EVERY: usize = 10;

/// A pseudo-random sequence (splitmix64): the same for every contender and every run.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

pub struct Dir {
    /// Index of the parent; the root is its own.
    pub parent: u32,
    pub name: Name,
}

pub struct File {
    pub dir: u32,
    pub name: Name,
    pub symlink: bool,
}

/// A tree as plain lists. `dirs[0]` is the root; a directory comes after its parent. The last file
/// is the writer's own: no target, and moved about.
pub struct Shape {
    pub dirs: Vec<Dir>,
    pub files: Vec<File>,
}

impl Shape {
    /// About `entries` names, in directories of 100; files are 4 to 8 components deep.
    pub fn new(entries: usize) -> Shape {
        let mut rng = Rng(1);
        let (dirs, first_with_files) = directories((entries / FANOUT).max(40), &mut rng);
        let mut held = vec![0usize; dirs.len()];
        for dir in &dirs[1..] {
            held[dir.parent as usize] += 1;
        }
        let mut files = Vec::with_capacity(entries);
        for (dir, &held) in held.iter().enumerate().skip(first_with_files) {
            for _ in held..FANOUT {
                files.push(File {
                    dir: dir as u32,
                    name: name(&mut rng),
                    symlink: files.len() % SYMLINK_EVERY == 0,
                });
            }
        }
        files.push(File {
            dir: first_with_files as u32,
            name: *b"moved-by-writer.",
            symlink: false,
        });
        Shape { dirs, files }
    }

    /// The index of the file that is no target.
    pub fn mover(&self) -> u32 {
        self.files.len() as u32 - 1
    }

    pub fn entries(&self) -> usize {
        self.dirs.len() - 1 + self.files.len()
    }

    /// The size `stat` must report of `files[file]`: tells the files apart.
    pub fn size(file: u32) -> u64 {
        u64::from(file) + 1
    }

    /// The target of the symbolic link `files[file]`.
    pub fn target(file: u32) -> [u8; 32] {
        let mut target = *b"../../targets/of/links/________.";
        target[23..31].copy_from_slice(format!("{file:08}").as_bytes());
        target
    }

    /// Appends the absolute path of `name` in `dir`.
    pub fn push_path(&self, dir: u32, name: &Name, out: &mut Vec<u8>) {
        let mut chain = arrayvec::ArrayVec::<&Name, 8>::new();
        let mut at = dir;
        while at != 0 {
            chain.push(&self.dirs[at as usize].name);
            at = self.dirs[at as usize].parent;
        }
        for component in chain.into_iter().rev().chain([name]) {
            out.push(b'/');
            out.extend_from_slice(component);
        }
    }
}

/// Returns the directories and the index of the first one that holds files.
fn directories(count: usize, rng: &mut Rng) -> (Vec<Dir>, usize) {
    let root = Dir {
        parent: 0,
        name: *b"the-root-itself.",
    };
    let mut dirs = vec![root];
    let mut first_with_files = 0;
    let mut level = 0..1;
    let (top, second) = ((count / 1000).max(2), (count / 100).max(4));
    let per_level = (count - top - second) / FILE_LEVELS.count();
    for depth in 1..=*FILE_LEVELS.end() {
        let here = [top, second].get(depth - 1).copied().unwrap_or(per_level);
        if depth == *FILE_LEVELS.start() {
            first_with_files = dirs.len();
        }
        let parents = level.clone();
        level = dirs.len()..dirs.len() + here;
        for _ in 0..here {
            dirs.push(Dir {
                parent: (parents.start + rng.below(parents.len())) as u32,
                name: name(rng),
            });
        }
    }
    (dirs, first_with_files)
}

fn name(rng: &mut Rng) -> Name {
    let mut name = [0; 16];
    for (byte, digit) in name.iter_mut().zip(format!("{:016x}", rng.next()).bytes()) {
        *byte = digit;
    }
    name
}

/// How many targets a column asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One and the same.
    One,
    /// 64, drawn at random.
    Hot,
    /// All of them, each once in random order.
    Cold,
}

impl Spread {
    pub const ALL: [Spread; 3] = [Spread::One, Spread::Hot, Spread::Cold];
    const HOT: usize = 64;
    const HOT_DRAWS: usize = 16 * 1024;

    pub fn label(self) -> &'static str {
        match self {
            Spread::One => "one target",
            Spread::Hot => "64 targets",
            Spread::Cold => "all, random",
        }
    }
}

/// The distinct targets of one column and the order in which they are asked for.
pub struct Targets {
    /// Indices into `Shape::files`.
    pub files: Vec<u32>,
    /// Indices into `files`.
    pub order: Vec<u32>,
}

impl Targets {
    /// Targets among the regular files or among the symbolic links.
    pub fn new(shape: &Shape, spread: Spread, symlinks: bool) -> Targets {
        let mut rng = Rng(2);
        let mut files: Vec<u32> = (0..shape.mover())
            .filter(|&file| shape.files[file as usize].symlink == symlinks)
            .collect();
        rng.shuffle(&mut files);
        match spread {
            Spread::One => files.truncate(1),
            Spread::Hot => files.truncate(Spread::HOT),
            Spread::Cold => {}
        }
        let order = match spread {
            Spread::One => vec![0],
            Spread::Hot => (0..Spread::HOT_DRAWS)
                .map(|_| rng.below(files.len()) as u32)
                .collect(),
            Spread::Cold => (0..files.len() as u32).collect(),
        };
        Targets { files, order }
    }
}

/// Paths in one piece of memory, so that reading the next one costs the same in every column.
#[derive(Default)]
pub struct Paths {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Paths {
    /// The paths of `files`, or of names that do not exist beside them.
    pub fn new(shape: &Shape, files: &[u32], absent: bool) -> Paths {
        let mut paths = Paths::default();
        for &file in files {
            let file = &shape.files[file as usize];
            let mut name = file.name;
            if absent {
                name[0] = b'-';
            }
            shape.push_path(file.dir, &name, &mut paths.text);
            paths.ends.push(paths.text.len() as u32);
        }
        paths
    }

    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }
}
