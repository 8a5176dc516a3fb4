//! Random choices that are the same in every run.

use std::path::{Path, PathBuf};

/// A generator of numbers. Two with the same seed give the same numbers.
pub struct Dice(u64);

impl Dice {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Dice {
        Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// One of `choices`.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len() as u64) as usize]
    }

    /// A path below `root`: one to three names out of four.
    pub fn path(&mut self, root: &Path) -> PathBuf {
        let depth = 1 + self.roll(3);
        (0..depth).fold(root.to_owned(), |path, _| {
            path.join(self.choose(&["a", "b", "c", "d"]))
        })
    }
}
