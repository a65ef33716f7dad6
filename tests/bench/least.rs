//! The least that a remote job can take: this program again, as a client that does nothing but send a source and put the
//! object that comes back into its file. It looks at nothing, asks for no slot, tells no monitor.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use distcc::sys::file::send_file;
use distcc::wire::lzo::{Encoder, decompress_in_pieces};
use distcc::wire::reply::{Decoder, Event, Part};
use distcc::wire::{Version, limits, request};

/// The first word of its command line; then come the server's port, the form, the source and the object.
pub const WORD: &str = "least";

/// Received at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// Is such a client if the words say so; without further words it only starts.
pub fn client(words: &[String]) -> bool {
    if words.first().is_none_or(|word| word != WORD) {
        return false;
    }
    if let [_, port, form, source, object] = words {
        let version = if form == "lzo" { Version::Lzo } else { Version::Plain };
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
        send(&mut stream, version, source);
        let mut file = File::create(format!(".{object}")).unwrap();
        receive(&mut stream, version, &mut file);
        let _ = fs::remove_file(object);
        fs::rename(format!(".{object}"), object).unwrap();
    }
    true
}

fn send(stream: &mut TcpStream, version: Version, source: &str) {
    let argv = ["gcc", "-c", source, "-o", "job.o"].map(|word| word.as_bytes().to_vec());
    let file = File::open(source).unwrap();
    let mut body = Vec::new();
    let mut len = file.metadata().unwrap().len();
    if version.compressed() {
        let mut at = 0;
        let mut next = |room: &mut [u8]| {
            let most = room.len().min(PIECE);
            let count = file.read_at(&mut room[..most], at)?;
            at += count as u64;
            Ok::<_, std::io::Error>(count)
        };
        Encoder::new().compress_pieces(&mut Vec::new(), &mut body, &mut next).unwrap();
        len = body.len() as u64;
    }
    let mut head = Vec::new();
    request::encode_head(version, &argv, len as u32, &mut head);
    stream.write_all(&head).unwrap();
    if version.compressed() {
        return stream.write_all(&body).unwrap();
    }
    let mut sent = 0;
    while sent < len {
        sent += send_file(stream.as_fd(), file.as_fd(), sent, (len - sent) as usize).unwrap() as u64;
    }
}

fn receive(stream: &mut TcpStream, version: Version, file: &mut File) {
    let (mut decoder, mut buffer, mut compressed) = (Decoder::new(version), vec![0; PIECE], Vec::new());
    loop {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the server ended early");
        let mut input = &buffer[..count];
        while let Some(event) = decoder.next(&mut input).unwrap() {
            match event {
                Event::PartStart(Part::Object, len) if version.compressed() => {
                    compressed.reserve(len as usize)
                }
                Event::Bytes(Part::Object, bytes) if version.compressed() => {
                    compressed.extend_from_slice(bytes)
                }
                Event::Bytes(Part::Object, bytes) => file.write_all(bytes).unwrap(),
                Event::PartEnd(Part::Object) if version.compressed() => {
                    let mut write = |piece: &[u8]| file.write_all(piece).unwrap();
                    decompress_in_pieces(&compressed, &mut Vec::new(), limits::BODY as usize, &mut write)
                        .unwrap();
                }
                Event::End => return,
                _ => {}
            }
        }
    }
}
