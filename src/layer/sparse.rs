//! A file in which pages of zeros are left out.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

const PAGE: usize = 4096;
/// Pages that are written together.
const BUFFER: usize = 64 * PAGE;

/// Writes a new file from its beginning; what has only zeros becomes a hole.
pub(super) struct Sparse<'f> {
    file: &'f File,
    /// Where `buffer` begins.
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Sparse<'f> {
    pub(super) fn new(file: &'f File) -> Sparse<'f> {
        Sparse {
            file,
            start: 0,
            buffer: Vec::with_capacity(BUFFER),
        }
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let mut at = self.start;
        let zeros = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        let pages: Vec<&[u8]> = self.buffer.chunks(PAGE).collect();
        for run in pages.chunk_by(|one, other| zeros(one) == zeros(other)) {
            let length: usize = run.iter().map(|page| page.len()).sum();
            if !zeros(run[0]) {
                let from = (at - self.start) as usize;
                self.file
                    .write_all_at(&self.buffer[from..from + length], at)?;
            }
            at += length as u64;
        }
        self.start = at;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER {
            self.write_buffer()?;
        }
        let taken = bytes.len().min(BUFFER - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// To be called at the end alone, and once: pages are counted from there.
    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        self.file.set_len(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_read_is_what_was_written_and_zeros_take_no_room() {
        let file = tempfile::tempfile().unwrap();
        let mut sparse = Sparse::new(&file);
        let mut whole = vec![0; 3 << 20];
        whole[PAGE + 7..3 * PAGE].fill(b'a');
        whole[2 << 20] = b'b';
        for part in whole.chunks(1000) {
            sparse.write_all(part).unwrap();
        }
        sparse.flush().unwrap();
        let mut read = vec![1; whole.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == whole);
        assert_eq!(file.metadata().unwrap().len(), whole.len() as u64);
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
