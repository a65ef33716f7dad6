//! The client's side of an include server: asks which files a compile reads, and takes them from the server's mirror
//! (reference `pump.md` section 2). Works with any server that speaks the protocol, stock's included.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::closure::{Closure, Content, Entry, PLACEHOLDER};
use crate::sys::file::{Readiness, wait_ready};
use crate::topdir::own_socket;
use crate::waiting::{self, Interrupted, retry};
use crate::wire::include::{AnswerDecoder, encode_question};
use crate::wire::limits;

pub mod own;

/// The longest silence of an include server. Stock's gives up by itself after 4 s of work.
const PATIENCE: Duration = Duration::from_secs(60);

/// A compile, as include servers are asked about it.
pub struct Compile<'a> {
    /// The server needs a `#line` in front of files that the compiler knows by absolute names. Servers of stock's protocol
    /// always give it.
    pub lines: bool,
    /// The working directory.
    pub directory: &'a Path,
    /// The command.
    pub argv: Vec<Vec<u8>>,
    /// The compiler's file, and what of its environment decides what it reads.
    pub context: Vec<Vec<u8>>,
}

/// Asks the server at `socket` for everything that this command reads in this directory; a reason if there is no
/// answer to use.
pub fn ask(socket: &Path, compile: &Compile) -> Result<Result<Closure, String>, Interrupted> {
    match retry(|| UnixStream::connect(own_socket(socket)))? {
        Ok(stream) => own::ask(&stream, compile),
        // Stock's, one of another version, or none.
        Err(_) => ask_any(socket, compile.directory, &compile.argv),
    }
}

fn ask_any(
    socket: &Path,
    directory: &Path,
    argv: &[Vec<u8>],
) -> Result<Result<Closure, String>, Interrupted> {
    let paths = match question(socket, directory.as_os_str().as_bytes(), argv)? {
        Ok(paths) => paths,
        Err(e) => {
            let shown = crate::args::printable(socket.as_os_str());
            return Ok(Err(format!(
                "the include server at {shown} (INCLUDE_SERVER_PORT) cannot be asked: {e}"
            )));
        }
    };
    if paths.is_empty() {
        return Ok(Err("the include server cannot tell what this source includes".to_owned()));
    }
    let mut closure = Closure::default();
    let mut room = limits::BODY as usize;
    for path in paths {
        waiting::check()?;
        match entry(&path, &mut room) {
            Ok(entry) => closure.entries.push(entry),
            Err(e) => {
                let shown = crate::args::printable(OsStr::from_bytes(&path)).to_string();
                return Ok(Err(format!("the include server's file {shown} cannot be used: {e}")));
            }
        }
    }
    Ok(Ok(closure))
}

fn question(
    socket: &Path,
    directory: &[u8],
    argv: &[Vec<u8>],
) -> Result<io::Result<Vec<Vec<u8>>>, Interrupted> {
    let mut bytes = Vec::with_capacity(1024);
    encode_question(directory, argv, &mut bytes);
    let stream = match retry(|| UnixStream::connect(socket))? {
        Ok(stream) => stream,
        Err(e) => return Ok(Err(e)),
    };
    if let Err(e) = send(&stream, &bytes)? {
        return Ok(Err(e));
    }
    let mut decoder = AnswerDecoder::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = match patiently(&stream, Readiness::Read, || (&stream).read(&mut buffer))? {
            Ok(0) => return Ok(Err(io::Error::other(decoder.truncated()))),
            Ok(count) => count,
            Err(e) => return Ok(Err(e)),
        };
        match decoder.take(&mut &buffer[..count]) {
            Ok(None) => {}
            Ok(Some(paths)) => return Ok(Ok(paths)),
            Err(e) => return Ok(Err(io::Error::other(e))),
        }
    }
}

fn send(stream: &UnixStream, bytes: &[u8]) -> Result<io::Result<()>, Interrupted> {
    if let Err(e) = stream.set_nonblocking(true) {
        return Ok(Err(e));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match patiently(stream, Readiness::Write, || (&mut &*stream).write(rest))? {
            Ok(count) => rest = &rest[count..],
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(()))
}

/// Repeats a call until the socket is ready for it, but not for ever.
fn patiently<T>(
    stream: &UnixStream,
    readiness: Readiness,
    mut call: impl FnMut() -> io::Result<T>,
) -> Result<io::Result<T>, Interrupted> {
    loop {
        match retry(&mut call)? {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            result => return Ok(result),
        }
        match retry(|| wait_ready(stream.as_fd(), readiness, PATIENCE))? {
            Ok(true) => {}
            Ok(false) => return Ok(Err(io::ErrorKind::TimedOut.into())),
            Err(e) => return Ok(Err(e)),
        }
    }
}

/// The entry that a path of the mirror stands for; takes its bytes from `room`.
fn entry(path: &[u8], room: &mut usize) -> io::Result<Entry> {
    let name = client_name(path).ok_or_else(|| io::Error::other("it is not below a mirror"))?;
    let file = Path::new(OsStr::from_bytes(path));
    let metadata = match fs::symlink_metadata(file) {
        // Newer servers only mention it.
        Err(e) if e.kind() == io::ErrorKind::NotFound && name.ends_with(PLACEHOLDER) => {
            return Ok(Entry { name: name.to_vec(), content: Content::Compressed(Vec::new()) });
        }
        result => result?,
    };
    if metadata.is_symlink() {
        let target = fs::read_link(file)?.into_os_string().into_vec();
        return Ok(Entry { name: name.to_vec(), content: Content::Link(target) });
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is neither a file nor a link"));
    }
    let mut body = Vec::with_capacity(metadata.len().min(1 << 20) as usize);
    fs::File::open(file)?.take(*room as u64 + 1).read_to_end(&mut body)?;
    *room = room.checked_sub(body.len()).ok_or(io::ErrorKind::FileTooLarge)?;
    Ok(Entry { name: without_suffixes(name).to_vec(), content: Content::Compressed(body) })
}

/// The path behind the mirror's root, which is always three directories deep.
fn client_name(path: &[u8]) -> Option<&[u8]> {
    let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let start = slashes.nth(3)?;
    (path.first() == Some(&b'/')).then(|| &path[start..])
}

/// A compressed file's own name: `.lzo` marks it, and `.abs` behind that one which begins with a `#line`.
fn without_suffixes(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b".abs").unwrap_or(name);
    name.strip_suffix(b".lzo").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_the_mirror() {
        let name = |path: &'static str| client_name(path.as_bytes()).map(without_suffixes);
        assert_eq!(name("/dev/shm/t.include_server-1-1/w/a.c.lzo"), Some(&b"/w/a.c"[..]));
        assert_eq!(name("/tmp/t/padding/w/x.abs.lzo.abs"), Some(&b"/w/x.abs"[..]));
        assert_eq!(name("/tmp/t/padding/w/x.lzo.lzo"), Some(&b"/w/x.lzo"[..]));
        assert_eq!(name("/dev/shm/t"), None);
        assert_eq!(name("a/b/c/d/e"), None);
    }
}
