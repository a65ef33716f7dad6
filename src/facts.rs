//! What compilers have said about themselves, kept from job to job.
//!
//! One small file per compiler and question below this user's directory. It begins with what it depends on
//! (path, device, inode, size and modification time of the compiler's file, and the question), so a new compiler
//! is asked anew, and it appears whole: any number of jobs may read and write at once.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::topdir::TopDir;

/// Answers are short; what is longer is not one of ours.
const MAX_LEN: u64 = 64 * 1024;

/// The place of one answer.
#[derive(Debug)]
pub struct Entry<'a> {
    top: &'a TopDir,
    path: PathBuf,
    /// What the file begins with.
    header: Vec<u8>,
}

impl<'a> Entry<'a> {
    /// The answer of the compiler `program` to the question that `words` are; `None` if there is no such file.
    pub fn new(top: &'a TopDir, program: &Path, words: &[OsString]) -> Option<Entry<'a>> {
        let header = header(program, &program.metadata().ok()?, words);
        let path = top.compilers_dir().join(format!("{:016x}", hash(&header)));
        Some(Entry { top, path, header })
    }

    /// The answer, if it is known.
    pub fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(512);
        File::open(&self.path).ok()?.take(MAX_LEN).read_to_end(&mut bytes).ok()?;
        bytes.starts_with(&self.header).then(|| bytes.split_off(self.header.len()))
    }

    /// Keeps an answer. Where that is not possible it is asked for again next time.
    pub fn write(&self, answer: &[u8]) {
        let made = self.top.make_compilers_dir().and_then(|_| {
            let new = self.path.with_extension(std::process::id().to_string());
            let written = File::create(&new)
                .and_then(|mut file| file.write_all(&[&self.header, answer].concat()))
                .and_then(|()| fs::rename(&new, &self.path));
            written.inspect_err(|_| drop(fs::remove_file(&new)))
        });
        if let Err(e) = made {
            log::debug!("cannot keep what the compiler said: {e}");
        }
    }
}

fn header(program: &Path, file: &Metadata, words: &[OsString]) -> Vec<u8> {
    let numbers = [file.dev(), file.ino(), file.size(), file.mtime() as u64, file.mtime_nsec() as u64];
    let mut header = b"distcc facts 1\0".to_vec();
    let mut add = |word: &OsStr| {
        header.extend_from_slice(word.as_bytes());
        header.push(0);
    };
    add(program.as_os_str());
    add(OsStr::new(&format!("{numbers:?} {}", words.len())));
    words.iter().for_each(|word| add(word));
    header.push(b'\n');
    header
}

/// FNV-1a. For places of answers: the header decides in the end, so a collision only means that two answers displace
/// each other.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
