//! What is sent to a server that does not preprocess: what a preprocessor wrote here, or the user's own file.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::preprocess::{Macros, Preprocessed};
use crate::args::Job;
use crate::closure::reads_files;
use crate::sys::file::{Contents, contains, find_byte, find_last_byte, prefer_large_pages};
use crate::wire::limits;
use crate::wire::lzo::Encoder;

/// A text on its way to a server.
pub enum Source {
    /// In memory.
    Made(Preprocessed),
    /// In a file of the user's that is too large to be copied.
    Given(Given),
}

/// A file that is read piece by piece.
pub struct Given {
    file: File,
    /// Its length in bytes.
    len: u64,
    /// What is sent of it, if that is compressed; else the kernel sends the file.
    stream: Option<Vec<u8>>,
}

/// From this size on the kernel sends a file's pages as they are, in bytes; less goes with what is before it, in one
/// call.
const SENT_FROM_FILE: u64 = 64 * 1024;
/// Bytes that are looked at in one piece, unless a line is longer.
const PIECE: usize = 64 * 1024;
/// What the encoder looks at in one piece, in bytes.
const WINDOW: usize = 256 * 1024;

impl Source {
    /// The source of a job that is preprocessed already, as it is; `None` if it does not say whose text it is.
    ///
    /// A compiler calls a source without line markers by the name it is given, and with debug information it needs the
    /// directory as well (`# 1 "/dir//"`): on a server both would be the server's.
    ///
    pub fn given(job: &Job) -> io::Result<Option<Source>> {
        let file = File::open(job.input())?;
        let len = file.metadata()?.len();
        let text = read(&file, len.min(SENT_FROM_FILE))?;
        let is_marked = text.starts_with(b"# ") && (!job.wants_directory_in_text() || names_directory(&text));
        Ok(is_marked.then(|| match len {
            ..SENT_FROM_FILE => Source::Made(Preprocessed {
                text: Contents::Read(text),
                file: None,
                reads_input: false,
                stderr: Contents::default(),
                macros: Macros::Expanded,
            }),
            _ => Source::Given(Given { file, len, stream: None }),
        }))
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Source::Made(preprocessed) => preprocessed.text.len() as u64,
            Source::Given(given) => given.len,
        }
    }

    /// All of it in memory.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Source::Made(preprocessed) => Ok(Cow::Borrowed(&preprocessed.text)),
            Source::Given(given) => read(&given.file, given.len).map(Cow::Owned),
        }
    }

    /// The file that has it, if the kernel should send it.
    pub fn file(&self) -> Option<&File> {
        match self {
            Source::Made(preprocessed) => preprocessed.file.as_ref().filter(|_| self.len() >= SENT_FROM_FILE),
            Source::Given(given) => Some(&given.file),
        }
    }

    /// All of it as an LZO1X stream, if it was compressed when it was looked through.
    pub fn stream(&self) -> Option<&[u8]> {
        match self {
            Source::Made(_) => None,
            Source::Given(given) => given.stream.as_deref(),
        }
    }

    /// Whether the server's compiler is to expand macros.
    pub fn macros(&self) -> Macros {
        match self {
            Source::Made(preprocessed) => preprocessed.macros,
            Source::Given(_) => Macros::Expanded,
        }
    }

    /// What the preprocessor said.
    pub fn messages(&self) -> &[u8] {
        match self {
            Source::Made(preprocessed) => &preprocessed.stderr,
            Source::Given(_) => &[],
        }
    }

    /// Why this text can only be compiled here. A file that is to be `compressed` for its first host is, as it passes.
    pub fn unsendable(&mut self, job: &Job, compressed: bool) -> io::Result<Option<&'static str>> {
        if self.len() > u64::from(limits::BODY) {
            return Ok(Some("the preprocessed source is larger than a job can carry"));
        }
        match self {
            Source::Made(preprocessed) if preprocessed.reads_input => {
                Ok(Some("the source reads standard input"))
            }
            Source::Made(preprocessed) => Ok(unsendable_lines(&preprocessed.text, job)),
            Source::Given(given) if compressed => given.compress(job),
            Source::Given(given) => given.look_through(job),
        }
    }
}

/// Why a text with these lines can only be compiled here.
fn unsendable_lines(text: &[u8], job: &Job) -> Option<&'static str> {
    let asks_for_names =
        || [&b"__builtin_FILE"[..], b"__builtin_source_location"].iter().any(|name| contains(text, name));
    if reads_files(text) {
        Some("the assembler reads a file of this machine (.incbin or .include)")
    } else if job.maps_paths_of_builtins() && asks_for_names() {
        Some("clang maps the paths of __builtin_FILE only where it preprocesses itself")
    } else {
        None
    }
}

impl Given {
    fn look_through(&self, job: &Job) -> io::Result<Option<&'static str>> {
        let (mut buffer, mut offset, mut lines) = (vec![0; PIECE], 0, Lines::default());
        loop {
            let count = read_some(&self.file, &mut buffer, &mut offset)?;
            let reason = lines.pass(&buffer[..count], |text| unsendable_lines(text, job));
            if count == 0 || reason.is_some() {
                return Ok(reason);
            }
        }
    }

    fn compress(&mut self, job: &Job) -> io::Result<Option<&'static str>> {
        let (mut offset, mut lines, mut reason) = (0, Lines::default(), None);
        let mut next = |room: &mut [u8]| {
            let most = room.len().min(PIECE);
            let count = read_some(&self.file, &mut room[..most], &mut offset)?;
            reason = lines.pass(&room[..count], |text| unsendable_lines(text, job));
            // Nobody wants the rest.
            if reason.is_some() { Err(io::Error::from(io::ErrorKind::Other)) } else { Ok(count) }
        };
        // Pages from the kernel are zeros already, which those of a window that grows are made once more.
        let (mut window, mut stream) = (vec![0; WINDOW], Vec::new());
        let compressed = Encoder::new().compress_pieces(&mut window, &mut stream, &mut next);
        if reason.is_none() {
            compressed?;
            self.stream = Some(stream);
        }
        Ok(reason)
    }
}

/// Reads what there is at `offset`, and moves that on; 0 at the end.
fn read_some(file: &File, buffer: &mut [u8], offset: &mut u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, *offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            count => {
                *offset += count.as_ref().map_or(0, |count| *count as u64);
                return count;
            }
        }
    }
}

/// Makes whole lines of a text that comes in pieces.
#[derive(Default)]
struct Lines {
    /// One that has begun.
    begun: Vec<u8>,
}

impl Lines {
    /// Shows what lines `piece` completes, or what is left if it is empty, until something comes of it.
    fn pass<T>(&mut self, piece: &[u8], mut look: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        let (first, last) = match (find_byte(piece, b'\n'), find_last_byte(piece, b'\n')) {
            (Some(first), Some(last)) => (first + 1, last + 1),
            _ if piece.is_empty() => return look(&self.begun),
            _ => {
                self.begun.extend_from_slice(piece);
                return None;
            }
        };
        self.begun.extend_from_slice(&piece[..first]);
        let found = look(&self.begun).or_else(|| look(&piece[first..last]));
        self.begun.clear();
        self.begun.extend_from_slice(&piece[last..]);
        found
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

    /// A text of lines, without an end to the last, and what its job is.
    fn given(line: usize, count: usize) -> (Given, Vec<u8>) {
        let mut text = Vec::new();
        for at in 0..count {
            text.resize(text.len() + line - 1, b'a' + (at % 20) as u8);
            text.push(b'\n');
        }
        text.extend_from_slice(b"end without one");
        let mut file = scratch::anonymous_file(c"test").unwrap();
        file.write_all(&text).unwrap();
        (Given { file, len: text.len() as u64, stream: None }, text)
    }

    fn job() -> Job {
        let words = ["gcc", "-c", "a.i"].map(Into::into);
        let crate::args::Verdict::Remote(job) = crate::args::scan(&words) else { panic!("a remote job") };
        job
    }

    #[test]
    fn a_text_in_pieces_is_shown_in_whole_lines() {
        for (line, count, piece) in [(10, 5000, 64), (10, 50, 7), (100, 30, 100), (64, 9, 63), (300, 2, 8)] {
            let (_, text) = given(line, count);
            let (mut lines, mut shown) = (Lines::default(), Vec::new());
            for piece in text.chunks(piece).chain([&b""[..]]) {
                let found = lines.pass(piece, |part| {
                    assert!(shown.is_empty() || shown.ends_with(b"\n"));
                    shown.extend_from_slice(part);
                    None::<()>
                });
                assert!(found.is_none());
            }
            assert!(shown == text, "{line} {piece}");
        }
    }

    #[test]
    fn a_large_file_is_looked_through_as_it_is_compressed() {
        let job = job();
        for (line, count) in [(10, 50_000), (100_000, 3), (PIECE, 2), (PIECE - 1, 5), (300_000, 1)] {
            let (mut given, mut text) = given(line, count);
            assert_eq!(given.look_through(&job).unwrap(), None);
            assert_eq!(given.compress(&job).unwrap(), None);
            let mut stream = Vec::new();
            Encoder::new().compress(&text, &mut stream);
            assert!(given.stream.as_ref() == Some(&stream), "{line}");
            // Across the edge of two pieces.
            let at = text.len() - 1;
            let directive = b"asm(\".incbin \\\"x\\\"\");";
            for place in [PIECE - 3, PIECE - 12, 0, at] {
                let end = (place + directive.len()).max(text.len());
                text.resize(end, b' ');
                let kept = text[place..place + directive.len()].to_vec();
                text[place..place + directive.len()].copy_from_slice(directive);
                let mut file = scratch::anonymous_file(c"test").unwrap();
                file.write_all(&text).unwrap();
                let mut with = Given { file, len: text.len() as u64, stream: None };
                assert!(with.look_through(&job).unwrap().is_some(), "{line} {place}");
                assert!(with.compress(&job).unwrap().is_some() && with.stream.is_none(), "{line} {place}");
                text[place..place + directive.len()].copy_from_slice(&kept);
            }
        }
    }
}
