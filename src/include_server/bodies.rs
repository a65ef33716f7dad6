//! Compressed files: each content once, one behind the other in a file without a name that clients read too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::closure::reads_files;
use crate::include::content_hash;
use crate::include::{Kind, Seen, Stamp, look, stamp_of};
use crate::scratch;
use crate::sys::file::{NONBLOCK, keep_from_shrinking, reopen_for_reading};
use crate::wire::limits;
use crate::wire::lzo::Encoder;

/// What the bodies may take, in bytes; then all are forgotten, before the next question. A large project has a tenth
/// of it; descriptors that clients still hold keep what they need.
const MOST_BYTES: u64 = 256 << 20;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u32,
    /// Bytes; 0 for an empty file.
    pub len: u32,
}

/// What a file was when it was compressed.
struct Body {
    stamp: Stamp,
    place: Place,
    reads_files: bool,
}

/// All of them.
pub struct Bodies {
    file: File,
    /// The same file, which cannot be written through this.
    shared: File,
    len: u64,
    /// By the real path, and the line in front of the content.
    by_path: HashMap<(PathBuf, Vec<u8>), Body>,
    by_content: HashMap<u128, Place>,
    encoder: Encoder,
}

/// What a look at a file came to.
pub struct Found {
    /// Where its body is.
    pub place: Place,
    /// It was not known as it is now.
    pub is_new: bool,
    /// An asm statement in it may read a file.
    pub reads_files: bool,
}

impl Bodies {
    /// None yet.
    pub fn new() -> io::Result<Bodies> {
        let (file, shared) = make_file()?;
        Ok(Bodies {
            file,
            shared,
            len: 0,
            by_path: HashMap::new(),
            by_content: HashMap::new(),
            encoder: Encoder::new(),
        })
    }

    /// The file that the places are in, for a client.
    pub fn shared(&self) -> &File {
        &self.shared
    }

    /// Forgets everything if there is too much of it.
    pub fn make_room(&mut self) -> io::Result<()> {
        if self.len > MOST_BYTES {
            log::info!("forgetting {} bytes of compressed files", self.len);
            *self = Bodies::new()?;
        }
        Ok(())
    }

    /// The body of the file `real` as it is now, behind `line`.
    ///
    /// # Errors
    /// No regular file, or not one that can be read; no space left.
    pub fn find(&mut self, real: &Path, line: &[u8]) -> io::Result<Found> {
        let key = (real.to_owned(), line.to_vec());
        match look(real) {
            Seen::Present(stamp) if stamp.kind == Kind::File => {
                if let Some(body) = self.by_path.get(&key).filter(|body| body.stamp == stamp) {
                    return Ok(Found { place: body.place, is_new: false, reads_files: body.reads_files });
                }
            }
            Seen::Present(stamp) if stamp.kind == Kind::Null => {
                let place = Place { offset: 0, len: 0 };
                return Ok(Found { place, is_new: false, reads_files: false });
            }
            Seen::Present(_) => return Err(io::Error::other("it is no file")),
            Seen::Absent => return Err(io::ErrorKind::NotFound.into()),
            Seen::Error(number) => return Err(io::Error::from_raw_os_error(number)),
        }
        let (content, stamp) = read(real, line)?;
        let reads_files = reads_files(&content);
        let place = self.add(&content)?;
        self.by_path.insert(key, Body { stamp, place, reads_files });
        Ok(Found { place, is_new: true, reads_files })
    }

    fn add(&mut self, content: &[u8]) -> io::Result<Place> {
        if content.is_empty() {
            return Ok(Place { offset: 0, len: 0 });
        }
        let hash = content_hash(content);
        if let Some(place) = self.by_content.get(&hash) {
            return Ok(*place);
        }
        let mut body = Vec::new();
        self.encoder.compress(content, &mut body);
        let end = self.len + body.len() as u64;
        if end > u64::from(u32::MAX) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let unkept =
            |e: io::Error| io::Error::new(e.kind(), format!("there is no room for it compressed: {e}"));
        self.file.write_all_at(&body, self.len).map_err(unkept)?;
        let place = Place { offset: self.len as u32, len: body.len() as u32 };
        self.len = end;
        self.by_content.insert(hash, place);
        Ok(place)
    }

    /// A body's bytes.
    pub fn bytes(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset.into())?;
        Ok(bytes)
    }
}

fn make_file() -> io::Result<(File, File)> {
    let file = scratch::anonymous_file(c"distcc bodies")?;
    // Then clients map it, instead of reading each body.
    let _ = keep_from_shrinking(file.as_fd());
    let shared = reopen_for_reading(&file)?;
    Ok((file, shared))
}

/// `line` and a file's bytes, and what the file was.
fn read(path: &Path, line: &[u8]) -> io::Result<(Vec<u8>, Stamp)> {
    // A pipe that has taken the file's place must not hold us up.
    let file = File::options().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file any more"));
    }
    let most = u64::from(limits::BODY);
    if metadata.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut content = Vec::with_capacity(line.len() + metadata.len() as usize + 1);
    content.extend_from_slice(line);
    file.take(most).read_to_end(&mut content)?;
    Ok((content, stamp_of(&metadata)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::Store;
    use crate::wire::lzo::decompress;

    #[test]
    fn a_content_is_compressed_once_and_a_file_is_what_it_is_now() {
        let dir = scratch::PrivateDir::new(&std::env::temp_dir(), "distcc_test_").unwrap();
        let [a, b] = ["a.h", "b.h"].map(|name| dir.path().join(name));
        std::fs::write(&a, "int x;\n").unwrap();
        std::fs::write(&b, "int x;\n").unwrap();
        let mut bodies = Bodies::new().unwrap();
        let first = bodies.find(&a, b"").unwrap();
        assert!(first.is_new && !first.reads_files);
        assert!(!bodies.find(&a, b"").unwrap().is_new);
        assert_eq!(bodies.find(&b, b"").unwrap().place, first.place);
        let len = bodies.len;
        std::fs::write(&a, "asm(\".incbin \\\"x\\\"\");\n").unwrap();
        let second = bodies.find(&a, b"").unwrap();
        assert!(second.is_new && second.reads_files && second.place != first.place && bodies.len > len);
        let mut text = Vec::new();
        let third = bodies.find(&b, b"#line 1 \"/b.h\"\n").unwrap();
        decompress(&bodies.bytes(third.place).unwrap(), &mut text, 1000).unwrap();
        assert_eq!(text, b"#line 1 \"/b.h\"\nint x;\n");
        std::fs::remove_file(&a).unwrap();
        assert!(bodies.find(&a, b"").is_err());
        assert!(bodies.find(dir.path(), b"").is_err());
        std::fs::write(&a, "").unwrap();
        assert_eq!(bodies.find(&a, b"").unwrap().place.len, 0);
    }

    #[test]
    fn a_client_can_only_read() {
        let mut bodies = Bodies::new().unwrap();
        bodies.add(b"text").unwrap();
        assert!(bodies.shared().write_all_at(b"x", 0).is_err());
        let mut byte = [0];
        bodies.shared().read_exact_at(&mut byte, 0).unwrap();
        // Nor can anybody shorten what a client has mapped.
        let store = Store::new(bodies.shared().try_clone().unwrap(), bodies.len);
        assert!(bodies.file.set_len(0).is_err());
        let place = bodies.add(b"more").unwrap();
        assert_eq!(
            store.stream(0, place.offset),
            Some(&bodies.bytes(Place { offset: 0, len: place.offset }).unwrap()[..])
        );
        assert_eq!(store.stream(place.offset.into(), place.len), None);
    }
}
