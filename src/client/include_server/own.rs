//! The same with a server of our own version: the bodies stay in its file, from where they are sent.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::{Compile, patiently, send};
use crate::closure::{Closure, Content, Entry, Store};
use crate::sys::file::Readiness;
use crate::sys::socket::receive_with_descriptor;
use crate::waiting::Interrupted;
use crate::wire::bodies::{self, Answer, AnswerDecoder, Item, encode_inquiry};
use std::os::unix::ffi::OsStrExt;

/// Asks the server behind `stream`; a reason if it has no answer to use.
pub fn ask(stream: &UnixStream, compile: &Compile) -> Result<Result<Closure, String>, Interrupted> {
    Ok(match inquire(stream, compile)? {
        Ok(answer) => answer,
        Err(e) => Err(format!("the include server does not answer: {e}")),
    })
}

/// The same; an error if the server has gone before it answered.
pub fn inquire(
    stream: &UnixStream,
    compile: &Compile,
) -> Result<io::Result<Result<Closure, String>>, Interrupted> {
    let mut bytes = Vec::with_capacity(4096);
    let directory = compile.directory.as_os_str().as_bytes();
    encode_inquiry(compile.lines, &compile.context, directory, &compile.argv, &mut bytes);
    if let Err(e) = send(stream, &bytes)? {
        return Ok(Err(e));
    }
    Ok(match receive(stream)? {
        Ok((Ok(items), Some(store))) => Ok(closure(items, File::from(store))),
        Ok((Ok(_), None)) => Err(io::Error::other("its answer came without its file")),
        Ok((Err(reason), _)) => Ok(Err(format!("the include server says: {reason}"))),
        Err(e) => Err(e),
    })
}

fn receive(stream: &UnixStream) -> Result<io::Result<(Answer, Option<OwnedFd>)>, Interrupted> {
    let mut decoder = AnswerDecoder::default();
    let mut buffer = [0; 32 * 1024];
    let mut store = None;
    loop {
        let received =
            patiently(stream, Readiness::Read, || receive_with_descriptor(stream.as_fd(), &mut buffer))?;
        let count = match received {
            Ok((0, _)) => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok((count, passed)) => {
                store = store.or(passed);
                count
            }
            Err(e) => return Ok(Err(e)),
        };
        match decoder.take(&mut &buffer[..count]) {
            Ok(None) => {}
            Ok(Some(answer)) => return Ok(Ok((answer, store))),
            Err(e) => return Ok(Err(io::Error::other(e))),
        }
    }
}

fn closure(items: Vec<Item>, store: File) -> Result<Closure, String> {
    let size = store.metadata().map_err(|e| format!("the include server's file cannot be used: {e}"))?.len();
    let store = Rc::new(Store::new(store, size));
    let mut entries = Vec::with_capacity(items.len());
    for Item { name, content } in items {
        let content = match content {
            bodies::Content::Link(target) => Content::Link(target),
            bodies::Content::File { len: 0, .. } => Content::Compressed(Vec::new()),
            bodies::Content::File { offset, len } if u64::from(offset) + u64::from(len) <= size => {
                Content::Stored { store: Rc::clone(&store), offset: offset.into(), len }
            }
            bodies::Content::File { .. } => return Err("the include server's file is too short".to_owned()),
        };
        entries.push(Entry { name, content });
    }
    Ok(Closure { entries })
}
