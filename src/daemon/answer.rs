//! Answers as bytes: what a job has left, or a sentence, put into a reply.
//!
//! The buffers live as long as the worker; those that a large job has grown are given back.

use std::io::{self, Read};

use crate::daemon::connection::Reply;
use crate::daemon::job::Compile;
use crate::daemon::tree::Trouble;
use crate::daemon::workplace::Workplaces;
use crate::sys::process::WaitStatus;
use crate::wire::lzo::{self, Encoder};
use crate::wire::reply::{self, Part};
use crate::wire::request::Event;
use crate::wire::{Version, limits};

/// A buffer that has grown beyond this is given back.
const KEPT_BUFFER: usize = 1 << 20;

/// What a worker needs to compress and expand.
pub struct Answers {
    encoder: Encoder,
    buffer: Vec<u8>,
    large: bool,
}

impl Answers {
    /// With empty buffers.
    pub fn new() -> Answers {
        Answers { encoder: Encoder::new(), buffer: Vec::new(), large: false }
    }

    /// Takes a piece of a job's source.
    pub fn take(
        &mut self,
        compile: &mut Compile,
        piece: Event,
        places: &mut Workplaces,
    ) -> Result<(), Trouble> {
        let taken = compile.take(piece, &mut self.buffer, places);
        self.trim_buffer();
        taken
    }

    /// Completes a job's source, which may have come compressed.
    pub fn finish_source(&mut self, compile: &mut Compile, places: &mut Workplaces) -> Result<(), Trouble> {
        self.large |= compile.memory > KEPT_BUFFER;
        let finished = compile.finish_source(&mut self.buffer, places);
        self.trim_buffer();
        finished
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
        let mut object = results.object.ok_or_else(|| io::Error::other("the compiler made no object"))?;
        let len = object.metadata()?.len();
        let wire_len = u32::try_from(len).ok().filter(|len| *len <= limits::BODY);
        let wire_len = wire_len
            .ok_or_else(|| io::Error::other(format!("the object has {len} bytes, which is too much")))?;
        if !version.compressed() {
            reply::encode_part(Part::Object, wire_len, &mut head);
            return stored(Reply::new(head, Some((object, len))), compile, room);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let read = object.read_to_end(&mut buffer);
        self.encode_part(version, Part::Object, &buffer, &mut head);
        self.buffer = buffer;
        self.trim_buffer();
        read?;
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
        let start = out.len();
        out.reserve(lzo::max_compressed_len(bytes.len()) + 64);
        reply::encode_part(part, 0, out);
        let body = out.len();
        self.encoder.compress(bytes, out);
        let len = (out.len() - body) as u32;
        reply::patch_len(&mut out[start..body], len);
    }

    fn trim_buffer(&mut self) {
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
            self.large = true;
        }
    }

    /// Whether a large job has been here since the last call.
    pub fn has_been_large(&mut self) -> bool {
        std::mem::take(&mut self.large)
    }
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
