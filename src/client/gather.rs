//! A request as pieces in different places, written in as few calls as possible: tokens and small things in one
//! buffer, bodies where they are, stores straight from their file.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;

use super::link::Link;
use crate::closure::{Closure, Content};
use crate::wire::lzo::{self, Encoder};
use crate::wire::{limits, request};

/// A stored body that is not in memory, up to this size, is copied into the buffer: that costs less than a call of its own.
const COPIED: u32 = 32 * 1024;
/// Pieces of one call: as many as the kernel takes.
const MOST_PIECES: usize = 1024;

/// A request on its way out.
pub struct Gather<'a> {
    /// Tokens, and bodies that were made for this request.
    buffer: Vec<u8>,
    pieces: Vec<Piece<'a>>,
    /// The piece that is being written.
    at: usize,
    /// Bytes of it that are gone.
    sent: usize,
}

enum Piece<'a> {
    /// The buffer, from where the last such piece ended up to here.
    Buffer {
        from: usize,
        to: usize,
    },
    Bytes(&'a [u8]),
    Stored(&'a File, u64, usize),
}

impl<'a> Gather<'a> {
    /// `head`, then `body`.
    pub fn new(head: Vec<u8>, body: &'a [u8]) -> Gather<'a> {
        let pieces = vec![Piece::Buffer { from: 0, to: head.len() }, Piece::Bytes(body)];
        Gather { buffer: head, pieces, at: 0, sent: 0 }
    }

    /// `head`, then all of `file`, of `len` bytes.
    pub fn with_file(head: Vec<u8>, file: &'a File, len: usize) -> Gather<'a> {
        let pieces = vec![Piece::Buffer { from: 0, to: head.len() }, Piece::Stored(file, 0, len)];
        Gather { buffer: head, pieces, at: 0, sent: 0 }
    }

    /// A request for a server that preprocesses.
    ///
    /// # Errors
    /// The bytes of its files, if they are more than a request may have; or a store that cannot be read.
    pub fn of_closure(directory: &[u8], argv: &[Vec<u8>], closure: &'a Closure) -> io::Result<Gather<'a>> {
        let too_large = |what: &str| Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
        let mut gather = Gather { buffer: Vec::with_capacity(16 * 1024), pieces: Vec::new(), at: 0, sent: 0 };
        let mut encoder = None;
        let mut total = 0;
        if closure.entries.len() > limits::FILES as usize {
            return too_large("the source reads more files than a job can carry");
        }
        let count = closure.entries.len() as u32;
        request::encode_pump_head(directory, argv, count, &mut gather.buffer);
        for entry in &closure.entries {
            total += match &entry.content {
                Content::Link(target) => {
                    request::encode_link(&entry.name, target, &mut gather.buffer);
                    0
                }
                Content::Plain(bytes) => {
                    gather.compress(encoder.get_or_insert_with(Encoder::new), &entry.name, bytes)
                }
                Content::Compressed(body) => {
                    request::encode_file(&entry.name, body.len() as u32, &mut gather.buffer);
                    gather.push(Piece::Bytes(body));
                    body.len()
                }
                Content::Stored { store, offset, len } => {
                    request::encode_file(&entry.name, *len, &mut gather.buffer);
                    match store.stream(*offset, *len) {
                        Some(stream) => gather.push(Piece::Bytes(stream)),
                        None if *len <= COPIED => {
                            let start = gather.buffer.len();
                            gather.buffer.resize(start + *len as usize, 0);
                            store.file.read_exact_at(&mut gather.buffer[start..], *offset)?;
                        }
                        None => gather.push(Piece::Stored(&store.file, *offset, *len as usize)),
                    }
                    *len as usize
                }
            };
            if total > limits::BODY as usize {
                return too_large("the files that the source reads are more than a job can carry");
            }
        }
        gather.close_buffer();
        Ok(gather)
    }

    /// Appends a file whose bytes are compressed here; returns how many that are.
    fn compress(&mut self, encoder: &mut Encoder, name: &[u8], bytes: &[u8]) -> usize {
        request::encode_file(name, 0, &mut self.buffer);
        let start = self.buffer.len();
        self.buffer.reserve(lzo::max_compressed_len(bytes.len()));
        encoder.compress(bytes, &mut self.buffer);
        let len = self.buffer.len() - start;
        request::patch_source_len(&mut self.buffer[..start], len as u32);
        len
    }

    fn push(&mut self, piece: Piece<'a>) {
        self.close_buffer();
        self.pieces.push(piece);
    }

    /// Makes a piece of what the buffer has that is in none yet.
    fn close_buffer(&mut self) {
        let last = self.pieces.iter().rev().find_map(|piece| match piece {
            Piece::Buffer { to, .. } => Some(*to),
            Piece::Bytes(_) | Piece::Stored(..) => None,
        });
        let (from, to) = (last.unwrap_or(0), self.buffer.len());
        if from < to {
            self.pieces.push(Piece::Buffer { from, to });
        }
    }

    /// All bytes that are not gone yet.
    pub fn left(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Buffer { from, to } => to - from,
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Stored(_, _, len) => *len,
        };
        self.pieces[self.at..].iter().map(len).sum::<usize>() - self.sent
    }

    /// One call to the kernel, which takes so many bytes; `None` when everything is gone.
    pub fn step(&mut self, link: &mut Link) -> Option<io::Result<usize>> {
        let written = match self.pieces.get(self.at)? {
            Piece::Stored(file, offset, len) => {
                let (offset, left) = (offset + self.sent as u64, len - self.sent);
                match link.send_file(file, offset, left) {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    result => result,
                }
            }
            _ => {
                let mut slices: Vec<IoSlice> = self.pieces[self.at..]
                    .iter()
                    .take(MOST_PIECES)
                    .map_while(|piece| self.in_memory(piece))
                    .map(IoSlice::new)
                    .collect();
                IoSlice::advance_slices(&mut &mut slices[..], self.sent);
                link.write(&slices)
            }
        };
        Some(written.inspect(|count| self.advance(*count)))
    }

    fn in_memory(&self, piece: &Piece<'a>) -> Option<&[u8]> {
        match piece {
            Piece::Buffer { from, to } => Some(&self.buffer[*from..*to]),
            Piece::Bytes(bytes) => Some(bytes),
            Piece::Stored(..) => None,
        }
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        while let Some(piece) = self.pieces.get(self.at) {
            let len = match piece {
                Piece::Buffer { from, to } => to - from,
                Piece::Bytes(bytes) => bytes.len(),
                Piece::Stored(_, _, len) => *len,
            };
            if self.sent < len {
                return;
            }
            self.sent -= len;
            self.at += 1;
        }
    }
}
