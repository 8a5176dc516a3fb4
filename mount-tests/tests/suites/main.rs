//! Public suites, programs that check what they wrote, and random changes of files whose content is known.

mod fsx;
mod known_content;
mod loads;
mod pjdfstest;
mod stressors;
