//! Answers as bytes: what a job has left, or a sentence, put into a reply.
//!
//! The encoder lives as long as the worker, and so do the buffers as long as there are large jobs.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use crate::daemon::buffers::Buffers;
use crate::daemon::connection::Reply;
use crate::daemon::job::Compile;
use crate::sys::process::WaitStatus;
use crate::wire::lzo::{self, Encoder};
use crate::wire::reply::{self, Part};
use crate::wire::{Version, limits};

/// Room for the words and numbers around a part.
const HEADERS: usize = 64;

/// What a worker needs to compress and expand.
pub struct Answers {
    encoder: Encoder,
    /// For bodies on their way in and out.
    pub buffers: Buffers,
}

impl Answers {
    /// With empty buffers.
    pub fn new() -> Answers {
        Answers { encoder: Encoder::new(), buffers: Buffers::default() }
    }

    /// A reply without results: `text` is shown to the user.
    pub fn with_text(&mut self, version: Version, status: WaitStatus, text: &str) -> Reply {
        let mut head = Vec::new();
        reply::encode_start(version, status.raw(), &mut head);
        self.encode_part(version, Part::Stderr, text.as_bytes(), &mut head);
        reply::encode_part(Part::Stdout, 0, &mut head);
        reply::encode_part(Part::Object, 0, &mut head);
        Reply::new(head, None)
    }

    /// A reply with what the compiler has left, on the disk if it takes more than `room` bytes of memory.
    ///
    /// # Errors
    /// When that cannot be read or stored, or a compiler that succeeded made no object.
    pub fn with_results(
        &mut self,
        version: Version,
        status: WaitStatus,
        compile: &mut Compile,
        room: usize,
    ) -> io::Result<Reply> {
        let results = compile.results()?;
        let mut head = Vec::new();
        reply::encode_start(version, status.raw(), &mut head);
        self.encode_part(version, Part::Stderr, bounded(&results.stderr)?, &mut head);
        self.encode_part(version, Part::Stdout, bounded(&results.stdout)?, &mut head);
        if !status.success() {
            reply::encode_part(Part::Object, 0, &mut head);
            return stored(Reply::new(head, None), compile, room);
        }
        let object = results.object.ok_or_else(|| io::Error::other("the compiler made no object"))?;
        let len = object.metadata()?.len();
        let wire_len = u32::try_from(len).ok().filter(|len| *len <= limits::BODY);
        let wire_len = wire_len
            .ok_or_else(|| io::Error::other(format!("the object has {len} bytes, which is too much")))?;
        if !version.compressed() {
            reply::encode_part(Part::Object, wire_len, &mut head);
            return stored(Reply::new(head, Some((object, len))), compile, room);
        }
        // Objects shrink to a third or less; the rare one that does not makes it grow.
        let likely = head.len() + HEADERS + lzo::max_compressed_len(len as usize / 2);
        self.buffers.enlarge(&mut head, likely);
        self.encode_file(object.take(len), &mut head)?;
        if version == Version::Pump {
            // A client that did not ask gets an empty one.
            let dependencies = results.dependencies.unwrap_or_default();
            if dependencies.is_empty() && compile.wants_dependencies() {
                return Err(io::Error::other("the compiler made no dependency file"));
            }
            self.encode_part(version, Part::Dependencies, bounded(&dependencies)?, &mut head);
        }
        stored(Reply::new(head, None), compile, room)
    }

    fn encode_part(&mut self, version: Version, part: Part, bytes: &[u8], out: &mut Vec<u8>) {
        if !version.compressed() {
            reply::encode_part(part, bytes.len() as u32, out);
            out.extend_from_slice(bytes);
            return;
        }
        out.reserve(HEADERS + lzo::max_compressed_len(bytes.len()));
        let head = start_body(part, out);
        self.encoder.compress(bytes, out);
        end_body(head, out);
    }

    /// The same for an object, compressed as it is read.
    fn encode_file(&mut self, mut object: io::Take<File>, out: &mut Vec<u8>) -> io::Result<()> {
        let head = start_body(Part::Object, out);
        let mut read = |room: &mut [u8]| loop {
            match object.read(room) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        };
        self.buffers.with_window(|window| self.encoder.compress_pieces(window, out, &mut read))?;
        end_body(head, out);
        Ok(())
    }
}

/// Begins a part whose length is not known yet. Returns where its start is.
fn start_body(part: Part, out: &mut Vec<u8>) -> Range<usize> {
    let start = out.len();
    reply::encode_part(part, 0, out);
    start..out.len()
}

/// The body is complete that follows this start of its part.
fn end_body(head: Range<usize>, out: &mut [u8]) {
    let len = (out.len() - head.end) as u32;
    reply::patch_len(&mut out[head], len);
}

/// Moves a reply to the disk if there is no room for it in memory: nobody knows when its client will take it.
fn stored(reply: Reply, compile: &Compile, room: usize) -> io::Result<Reply> {
    if reply.memory() <= room { Ok(reply) } else { reply.into_file(compile.unnamed_file()?) }
}

fn bounded(bytes: &[u8]) -> io::Result<&[u8]> {
    if bytes.len() > limits::BODY as usize {
        return Err(io::Error::other("the compiler's messages are too long"));
    }
    Ok(bytes)
}
