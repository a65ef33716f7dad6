//! What a server answers, as it arrives. A large object goes into the file that will be the output: memory for all of it
//! would cost more than everything else that is done with it.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use super::remote::HostFailure;
use super::server_names::{self, Search};
use crate::args::Job;
use crate::exitcode::ExitCode;
use crate::object::Bytes;
use crate::output::{self, Manner, Pending};
use crate::sys::process::WaitStatus;
use crate::wire::reply::{Event, Part};
use crate::wire::{self, Version, limits, lzo};

/// What a server answered.
#[derive(Debug, Default)]
pub struct Reply {
    /// How the compiler ended there.
    pub status: Option<WaitStatus>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The object.
    pub object: Object,
    /// The dependency file; empty unless the server preprocesses.
    pub dependencies: Vec<u8>,
    /// For an object that goes to its file and is looked through on the way.
    names: Option<Search>,
}

/// What a server's compiler made.
#[derive(Debug)]
pub enum Object {
    /// In memory.
    Read(Vec<u8>),
    /// In the file that takes the output's name when all is well.
    Written(Pending),
    /// It came, and that file could not be written.
    Unwritten(io::Error),
}

impl Default for Object {
    fn default() -> Object {
        Object::Read(Vec::new())
    }
}

/// The output that an object is for, if nothing has to be done with it before.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its path.
    pub path: PathBuf,
    /// How the local compiler would write it.
    pub manner: Manner,
    /// Whether to look for names of the server's directories in it.
    pub is_searched: bool,
}

impl Object {
    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        match self {
            Object::Read(bytes) => bytes.is_empty(),
            Object::Written(pending) => pending.is_empty(),
            Object::Unwritten(_) => false,
        }
    }

    /// What is in memory, which is all of an object that was received without a [`Target`].
    pub fn bytes(&self) -> &[u8] {
        match self {
            Object::Read(bytes) => bytes,
            Object::Written(_) | Object::Unwritten(_) => &[],
        }
    }

    /// All of it in memory, to be changed there.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self {
            Object::Read(bytes) => Ok(bytes),
            Object::Written(pending) => pending.read(0, pending.total()?).map(Cow::into_owned),
            Object::Unwritten(e) => Err(e),
        }
    }

    /// Makes it the output.
    pub fn deliver(self, target: &Target) -> io::Result<()> {
        match self {
            Object::Read(bytes) => output::write(&target.path, &bytes, target.manner),
            Object::Written(pending) => pending.finish(),
            Object::Unwritten(e) => Err(e),
        }
    }
}

impl Target {
    /// The output of `job`.
    pub fn of(job: &Job) -> Target {
        let manner = match (job.is_of_clang(), job.assembly_only()) {
            (true, _) => Manner::Replacing,
            (false, true) => Manner::InPlace,
            (false, false) => Manner::Assembler,
        };
        Target { path: job.output().into(), manner, is_searched: false }
    }
}

/// Objects of less than this many bytes on the wire are in memory before their file could be made.
const LARGE: usize = 32 * 1024;

/// Most of what a length that a server names is believed at once, in bytes.
const BELIEVED: usize = 16 << 20;

/// A reply that is being received.
pub struct Incoming {
    /// What is here of it.
    pub reply: Reply,
    version: Version,
    target: Option<Target>,
    /// Compressed bytes of the body that has begun.
    compressed: Vec<u8>,
}

impl Incoming {
    /// Nothing has come yet.
    pub fn new(version: Version, target: Option<Target>) -> Incoming {
        Incoming { reply: Reply::default(), version, target, compressed: Vec::new() }
    }

    /// Takes one event; true when the reply is complete.
    pub fn take(&mut self, event: Event) -> Result<bool, wire::Error> {
        match event {
            Event::Status(status) => self.reply.status = Some(WaitStatus::from_raw(status)),
            Event::PartStart(_, len) if self.version.compressed() => {
                self.compressed = Vec::with_capacity((len as usize).min(BELIEVED));
            }
            Event::PartStart(Part::Object, len) => self.begin(len as usize),
            Event::PartStart(..) => {}
            Event::Bytes(_, bytes) if self.version.compressed() => self.compressed.extend_from_slice(bytes),
            Event::Bytes(part, bytes) => self.reply.put(part, bytes),
            Event::PartEnd(part) if self.version.compressed() => {
                self.expand(part).map_err(|error| wire::Error::Lzo { token: part.token(), error })?
            }
            Event::PartEnd(_) => {}
            Event::End => return Ok(true),
        }
        Ok(false)
    }

    /// An object of `len` bytes on the wire is about to come.
    fn begin(&mut self, len: usize) {
        let target = self.target.take().filter(|_| len >= LARGE);
        let is_searched = target.as_ref().is_some_and(|target| target.is_searched);
        match target.and_then(|target| Pending::begin(&target.path, target.manner)) {
            Some(pending) => {
                self.reply.object = Object::Written(pending);
                self.reply.names = is_searched.then(Search::default);
            }
            None => self.reply.object = Object::Read(Vec::with_capacity(len.min(BELIEVED))),
        }
    }

    fn expand(&mut self, part: Part) -> Result<(), lzo::Error> {
        let compressed = std::mem::take(&mut self.compressed);
        let ceiling = limits::BODY as usize;
        if part == Part::Object {
            self.begin(compressed.len());
        }
        match (part, &mut self.reply.object) {
            (Part::Object, Object::Written(_)) => {
                let reply = &mut self.reply;
                lzo::decompress_in_pieces(&compressed, &mut Vec::new(), ceiling, &mut |piece| {
                    reply.put(part, piece);
                })
            }
            _ => match self.reply.part(part) {
                Some(bytes) => lzo::decompress(&compressed, bytes, ceiling),
                None => Ok(()),
            },
        }
    }
}

impl Reply {
    /// Appends to a body.
    fn put(&mut self, part: Part, bytes: &[u8]) {
        if let Some(body) = self.part(part) {
            return body.extend_from_slice(bytes);
        }
        // What cannot be written is still received, so that the server need not wonder.
        if let Object::Written(pending) = &mut self.object {
            self.names.iter_mut().for_each(|names| names.pass(bytes));
            if let Err(e) = pending.write(bytes) {
                self.object = Object::Unwritten(e);
            }
        }
    }

    /// Whether the object names directories of the server's, if that was asked for.
    pub fn names_directories(&self) -> bool {
        match &self.object {
            Object::Read(bytes) => server_names::are_in(bytes),
            _ => self.names.as_ref().is_some_and(Search::found),
        }
    }

    /// A body that is in memory.
    fn part(&mut self, part: Part) -> Option<&mut Vec<u8>> {
        match (part, &mut self.object) {
            (Part::Stderr, _) => Some(&mut self.stderr),
            (Part::Stdout, _) => Some(&mut self.stdout),
            (Part::Object, Object::Read(object)) => Some(object),
            (Part::Object, _) => None,
            (Part::Dependencies, _) => Some(&mut self.dependencies),
        }
    }

    /// A reply whose status speaks of the server itself is a refusal; its text says why.
    pub fn refusal(&self) -> Option<HostFailure> {
        let code = self.status?.code()?;
        if !ExitCode::OWN.contains(&code) {
            return None;
        }
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
        Some(HostFailure::Refused(code, line.to_owned()))
    }
}
