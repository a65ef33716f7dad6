//! The other end of the wire as a test needs it: a server that misbehaves, and a client that sends bytes of
//! its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use distcc::wire::request::{self, Decoder, Event};
use distcc::wire::{Version, limits, lzo, reply};

/// A server that reads a whole request from each connection and then does what it is told.
pub struct FakeServer {
    pub port: u16,
    _thread: JoinHandle<()>,
}

/// A request as a fake server has seen it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub argv: Vec<String>,
    pub source: Vec<u8>,
}

impl FakeServer {
    /// `answer` gets each request and its connection.
    pub fn new(answer: impl Fn(Seen, &mut TcpStream) + Send + 'static) -> FakeServer {
        FakeServer::raw(move |stream| {
            if let Some(seen) = read_request(stream) {
                answer(seen, stream);
            }
        })
    }

    /// `serve` gets each connection as it comes.
    pub fn raw(serve: impl Fn(&mut TcpStream) + Send + 'static) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap());
            }
        });
        FakeServer { port, _thread: thread }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

pub fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut decoder = Decoder::new();
    let mut seen = Seen::default();
    let mut buffer = [0; 65536];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        let mut input = &buffer[..count];
        while let Some(event) = decoder.next(&mut input).unwrap() {
            match event {
                Event::Command(argv) => {
                    seen.argv = argv.into_iter().map(|word| String::from_utf8(word).unwrap()).collect();
                }
                Event::Source(bytes) => seen.source.extend_from_slice(bytes),
                Event::End => return Some(seen),
                _ => {}
            }
        }
    }
}

/// A complete request.
pub fn request(version: Version, argv: &[&str], source: &[u8]) -> Vec<u8> {
    let mut body = source.to_vec();
    if version == Version::Lzo {
        body = Vec::new();
        lzo::Encoder::new().compress(source, &mut body);
    }
    let mut bytes = Vec::new();
    request::encode_head(version, argv, body.len() as u32, &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

/// Sends `bytes`, then reads until the server closes. `None` if it does not close within 20 s.
pub fn exchange(port: u16, bytes: &[u8], then_close: bool) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server may refuse before it has read everything.
    let _ = stream.write_all(bytes);
    if then_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => Some(reply),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Some(reply),
        Err(_) => None,
    }
}

/// The object in a reply that reports success.
pub fn object_of(version: Version, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut decoder, mut input, mut body) = (reply::Decoder::new(version), bytes, Vec::new());
    let mut complete = false;
    while let Some(event) = decoder.next(&mut input).ok()? {
        match event {
            reply::Event::Status(0) => {}
            reply::Event::Status(_) => return None,
            reply::Event::Bytes(reply::Part::Object, piece) => body.extend_from_slice(piece),
            reply::Event::End => complete = true,
            _ => {}
        }
    }
    if version.compressed() {
        let compressed = std::mem::take(&mut body);
        lzo::decompress(&compressed, &mut body, limits::BODY as usize).ok()?;
    }
    complete.then_some(body)
}
