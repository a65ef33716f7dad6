//! What is sent to a server that does not preprocess: what a preprocessor wrote here, or the user's own file.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::preprocess::{Macros, Preprocessed};
use crate::args::Job;
use crate::closure::reads_files;
use crate::sys::file::{Contents, contains, find_last_byte, prefer_large_pages};
use crate::wire::limits;

/// A text on its way to a server.
pub enum Source {
    /// In memory.
    Made(Preprocessed),
    /// In a file of the user's that is too large to be copied: what is read of it, the kernel sends. Its length in bytes.
    Given(File, u64),
}

/// From this size on the kernel sends a file's pages as they are, in bytes; less goes with what is before it, in one
/// call.
const SENT_FROM_FILE: u64 = 64 * 1024;
/// Bytes that are looked at in one piece, unless a line is longer.
const PIECE: usize = 64 * 1024;

impl Source {
    /// The source of a job that is preprocessed already, as it is; `None` if it does not say whose text it is.
    ///
    /// A compiler calls a source without line markers by the name it is given, and with debug information it needs the
    /// directory as well (`# 1 "/dir//"`): on a server both would be the server's.
    ///
    /// `in_memory` for a host that wants it compressed.
    pub fn given(job: &Job, in_memory: bool) -> io::Result<Option<Source>> {
        let file = File::open(job.input())?;
        let len = file.metadata()?.len();
        let source = if len < SENT_FROM_FILE || in_memory && len <= u64::from(limits::BODY) {
            let (text, stderr) = (Contents::Read(read(&file, len)?), Contents::default());
            Source::Made(Preprocessed {
                text,
                file: None,
                reads_input: false,
                stderr,
                macros: Macros::Expanded,
            })
        } else {
            Source::Given(file, len)
        };
        let mut is_marked = false;
        source.pieces(|start| {
            is_marked =
                start.starts_with(b"# ") && (!job.wants_directory_in_text() || names_directory(start));
            true
        })?;
        Ok(is_marked.then_some(source))
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Source::Made(preprocessed) => preprocessed.text.len() as u64,
            Source::Given(_, len) => *len,
        }
    }

    /// All of it in memory.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Source::Made(preprocessed) => Ok(Cow::Borrowed(&preprocessed.text)),
            Source::Given(file, len) => read(file, *len).map(Cow::Owned),
        }
    }

    /// The file that has it, if the kernel should send it.
    pub fn file(&self) -> Option<&File> {
        match self {
            Source::Made(preprocessed) => preprocessed.file.as_ref().filter(|_| self.len() >= SENT_FROM_FILE),
            Source::Given(file, _) => Some(file),
        }
    }

    /// Whether the server's compiler is to expand macros.
    pub fn macros(&self) -> Macros {
        match self {
            Source::Made(preprocessed) => preprocessed.macros,
            Source::Given(..) => Macros::Expanded,
        }
    }

    /// What the preprocessor said.
    pub fn messages(&self) -> &[u8] {
        match self {
            Source::Made(preprocessed) => &preprocessed.stderr,
            Source::Given(..) => &[],
        }
    }

    /// Why this text can only be compiled here.
    pub fn unsendable(&self, job: &Job) -> io::Result<Option<&'static str>> {
        if self.len() > u64::from(limits::BODY) {
            return Ok(Some("the preprocessed source is larger than a job can carry"));
        }
        if matches!(self, Source::Made(preprocessed) if preprocessed.reads_input) {
            return Ok(Some("the source reads standard input"));
        }
        let mut reason = None;
        let asks_for_names = |text: &[u8]| {
            [&b"__builtin_FILE"[..], b"__builtin_source_location"].iter().any(|name| contains(text, name))
        };
        self.pieces(|text| {
            if reads_files(text) {
                reason = Some("the assembler reads a file of this machine (.incbin or .include)");
            } else if job.maps_paths_of_builtins() && asks_for_names(text) {
                reason = Some("clang maps the paths of __builtin_FILE only where it preprocesses itself");
            }
            reason.is_some()
        })?;
        Ok(reason)
    }

    /// Shows all of it, in pieces of whole lines, until `is_enough`.
    fn pieces(&self, mut is_enough: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let file = match self {
            Source::Made(preprocessed) => {
                is_enough(&preprocessed.text);
                return Ok(());
            }
            Source::Given(file, _) => file,
        };
        let (mut buffer, mut kept, mut offset) = (vec![0; PIECE], 0, 0);
        loop {
            let count = match file.read_at(&mut buffer[kept..], offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            offset += count as u64;
            let filled = kept + count;
            if count == 0 {
                is_enough(&buffer[..filled]);
                return Ok(());
            }
            let lines = find_last_byte(&buffer[kept..filled], b'\n').map_or(0, |at| kept + at + 1);
            if lines > 0 && is_enough(&buffer[..lines]) {
                return Ok(());
            }
            buffer.copy_within(lines..filled, 0);
            kept = filled - lines;
            if kept == buffer.len() {
                buffer.resize(2 * kept, 0);
            }
        }
    }
}

/// The first `len` bytes.
fn read(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut text = vec![0; len];
    prefer_large_pages(&mut text);
    file.read_exact_at(&mut text, 0)?;
    Ok(text)
}

/// gcc writes its directory, with two slashes at the end, as the second line marker.
fn names_directory(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').take(2).any(|line| line.starts_with(b"# ") && line.ends_with(b"//\""))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::scratch;

    #[test]
    fn a_large_file_is_shown_in_whole_lines() {
        for (line, count) in [(10, 50_000), (100_000, 3), (PIECE, 2), (PIECE - 1, 5), (300_000, 1)] {
            let mut text = Vec::new();
            for at in 0..count {
                text.resize(text.len() + line - 1, b'a' + (at % 20) as u8);
                text.push(b'\n');
            }
            text.extend_from_slice(b"end without one");
            let mut file = scratch::anonymous_file(c"test").unwrap();
            file.write_all(&text).unwrap();
            let source = Source::Given(file, text.len() as u64);
            let mut shown = Vec::new();
            source
                .pieces(|piece| {
                    assert!(shown.is_empty() || shown.ends_with(b"\n"));
                    shown.extend_from_slice(piece);
                    false
                })
                .unwrap();
            assert!(shown == text, "{line}");
            assert!(source.bytes().unwrap() == text);
        }
    }
}
