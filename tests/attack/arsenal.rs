//! What is sent: requests recorded from real clients, written by hand, and broken in many ways. Version 3 and the
//! tokens' layout are written out here once more, so that the attack does not share the mistakes of our codec.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use distcc::wire::{Version, lzo};

use crate::util::peer::request;
use crate::util::{Kind, Random, Workspace, stock};

/// The compiler that copies its source, by its name on the wire.
pub const STUB: &str = "gcc";

pub struct Arsenal {
    /// Right requests of all versions.
    requests: Vec<Vec<u8>>,
    /// Requests of a few KB whose source is large, from small to huge.
    bombs: [Vec<u8>; 3],
    http: Vec<Vec<u8>>,
}

impl Arsenal {
    /// Records real clients, and writes the rest.
    pub fn new(workspace: &Workspace) -> Arsenal {
        let mut requests = recorded(workspace);
        let recorded = requests.len();
        let text = b"int x; /* as good as any */\n".repeat(40);
        for version in [Version::Plain, Version::Lzo] {
            for argv in [
                &[STUB, "-c", "a.c"][..],
                &[STUB, "-O2", "-g", "-c", "a.cc", "-o", "a.o", "-Wall", "-fdebug-prefix-map=/a=/b"],
                &[STUB, "-S", "-x", "c++", "a.cc", "-o", "a.s", "-march=x86-64"],
                &[STUB, "-c", "a.c", "-wrapper", "/bin/sh,-c", "-B/tmp", "@/etc/passwd"],
                &["../../../bin/sh", "-c", "a.c"],
                &["nosuchcc", "-c", "a.c", "-fplugin=/tmp/x.so"],
            ] {
                requests.push(request(version, argv, &text));
            }
        }
        requests.extend(pump_requests());
        eprintln!("{recorded} requests recorded from clients, {} written", requests.len() - recorded);
        let bomb = |len| request(Version::Lzo, &[STUB, "-c", "a.c"], &vec![b' '; len]);
        let http = [
            "GET / HTTP/1.0\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
            "GET /jobs HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /jobs HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            "GET /../../../etc/passwd HTTP/1.0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        ];
        let mut http: Vec<Vec<u8>> = http.iter().map(|text| text.as_bytes().to_vec()).collect();
        http.push([&b"GET /metrics HTTP/1.0\r\n"[..], &b"X: y\r\n".repeat(2000)].concat());
        http.push([&b"GET /"[..], &vec![b'a'; 100_000]].concat());
        // LZO expands by at most 255 bytes for each byte: 64 MB take 260 KB, and what exceeds the limit 4.3 MB.
        let bombs = [1 << 20, 64 << 20, 0].map(|len| match len {
            0 => beyond_the_limit(),
            len => bomb(len),
        });
        Arsenal { requests, bombs, http }
    }

    /// One hostile stream. Whether it is a right request can be said of none.
    pub fn hostile(&self, random: &mut Random) -> Vec<u8> {
        match random.below(100) {
            0..10 => random.bytes(300),
            10..25 => self.right(random).to_vec(),
            25..60 => {
                let mut bytes = self.right(random).to_vec();
                for _ in 0..1 + random.below(4) {
                    self.break_bytes(&mut bytes, random);
                }
                bytes
            }
            _ => {
                let mut packets = packets(self.right(random));
                for _ in 0..1 + random.below(3) {
                    self.break_packets(&mut packets, random);
                }
                packets.concat()
            }
        }
    }

    /// One that is right.
    pub fn right(&self, random: &mut Random) -> &[u8] {
        &self.requests[random.below(self.requests.len())]
    }

    /// How large the bombs are: 1 MB, 64 MB, more than a daemon takes.
    pub fn bomb(&self, size: usize) -> &[u8] {
        &self.bombs[size]
    }

    pub fn http(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = random.of(&self.http).clone();
        if random.below(2) == 0 {
            self.break_bytes(&mut bytes, random);
        }
        bytes
    }

    fn break_bytes(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = 0,
            3 => bytes.insert(at, random.below(256) as u8),
            4 => drop(bytes.drain(at..(at + 1 + random.below(20)).min(bytes.len()))),
            5 => {
                let piece = bytes[at..(at + 1 + random.below(40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = self.right(random);
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Wrong order, wrong numbers, wrong contents.
    fn break_packets(&self, packets: &mut Vec<Vec<u8>>, random: &mut Random) {
        if packets.is_empty() {
            return;
        }
        let (at, other) = (random.below(packets.len()), random.below(packets.len()));
        match random.below(8) {
            0 => packets.swap(at, other),
            1 => drop(packets.remove(at)),
            2 => packets.insert(other, packets[at].clone()),
            3 => {
                let strange = self::packets(self.right(random));
                packets.insert(at, random.of(&strange).clone());
            }
            4 | 5 if packets[at].len() >= 12 => {
                packets[at][4..12].copy_from_slice(*random.of(&NUMBERS));
            }
            6 if packets[at].len() >= 12 => {
                let contents = *random.of(&CONTENTS);
                packets[at].truncate(4);
                packets[at].extend_from_slice(format!("{:08x}", contents.len()).as_bytes());
                packets[at].extend_from_slice(contents);
            }
            _ => {
                let token = *random.of(&TOKENS);
                let len = packets[at].len().min(4);
                packets[at][..len].copy_from_slice(&token[..len]);
            }
        }
    }
}

const TOKENS: [&[u8; 4]; 16] = [
    b"DIST",
    b"ARGC",
    b"ARGV",
    b"DOTI",
    b"CDIR",
    b"NFIL",
    b"NAME",
    b"FILE",
    b"LINK",
    b"DONE",
    b"STAT",
    b"SERR",
    b"DOTO",
    b"TLEN",
    b"dist",
    b"\0\0\0\0",
];

const NUMBERS: [&[u8; 8]; 14] = [
    b"00000000",
    b"00000001",
    b"00000002",
    b"00000003",
    b"00000004",
    b"0000ffff",
    b"00010001",
    b"40000000",
    b"40000001",
    b"7fffffff",
    b"80000000",
    b"ffffffff",
    b"      -1",
    b"0x00000a",
];

const CONTENTS: [&[u8]; 13] = [
    b"",
    b"\0",
    b"gcc\0zz",
    b"-",
    b"-c",
    b"-o",
    b"@/etc/passwd",
    b"/etc/passwd",
    b"../../../../etc/passwd",
    b"-fplugin=/tmp/evil.so",
    b"%s%n%s%n\x1b[2J\r\n",
    &[0xff; 300],
    &[b'/'; 5000],
];

/// A request taken apart; what is no packet stays one piece.
fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(header) = bytes.first_chunk::<12>() {
        let number =
            std::str::from_utf8(&header[4..]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let has_body = !matches!(&header[..4], b"DIST" | b"ARGC" | b"NFIL");
        let len = 12 + number.filter(|_| has_body).unwrap_or(0);
        let (packet, rest) = bytes.split_at(len.min(bytes.len()));
        packets.push(packet.to_vec());
        bytes = rest;
    }
    packets.push(bytes.to_vec());
    packets
}

fn packet(token: &str, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{token}{:08x}", body.len()).as_bytes());
    out.extend_from_slice(body);
}

/// Version 3, right and wrong: files and links inside and outside the job's root.
fn pump_requests() -> Vec<Vec<u8>> {
    let mut source = Vec::new();
    lzo::Encoder::new().compress(b"#include \"a.h\"\nint x;\n", &mut source);
    let file = |name: &'static str| (name, Some(&source[..]), &b""[..]);
    let link = |name: &'static str, target: &'static str| (name, None, target.as_bytes());
    let lists = [
        vec![file("/home/u/a.c"), file("/home/u/a.h")],
        vec![file("/home/u/a.c"), link("/home/u/a.h", "/home/u/b.h"), file("/home/u/b.h")],
        vec![file("/home/u/../../../../../../tmp/distcc-attack-escape.c"), file("/home/u/a.c")],
        vec![link("/home/u/d", "../../../../../../../../tmp"), file("/home/u/d/distcc-attack-escape.h")],
        vec![link("/home", "/"), file("/home/u/a.c"), file("/home/u/a.c")],
        vec![file("relative.c"), file("/home/u/a.c")],
    ];
    let mut requests = Vec::new();
    for list in lists {
        for cwd in ["/home/u", "../../tmp", "/home/../../..", ""] {
            let mut bytes = b"DIST00000003".to_vec();
            packet("CDIR", cwd.as_bytes(), &mut bytes);
            bytes.extend_from_slice(b"ARGC00000006");
            for word in [STUB, "-c", "a.c", "-o", "a.o", "-I/home/u"] {
                packet("ARGV", word.as_bytes(), &mut bytes);
            }
            bytes.extend_from_slice(format!("NFIL{:08x}", list.len()).as_bytes());
            for (name, contents, target) in &list {
                packet("NAME", name.as_bytes(), &mut bytes);
                match contents {
                    Some(contents) => packet("FILE", contents, &mut bytes),
                    None => packet("LINK", target, &mut bytes),
                }
            }
            requests.push(bytes);
        }
    }
    requests
}

/// More than the 1 GiB that a daemon expands, from one literal and one match whose length never ends.
fn beyond_the_limit() -> Vec<u8> {
    // A first literal run of 4 bytes, then a match of distance 1: 0x20, zeros of 255 each, the rest, the distance.
    let mut stream = vec![17 + 4, b' ', b' ', b' ', b' ', 0x20];
    stream.resize(stream.len() + (1 << 30) / 255 + 1000, 0);
    stream.extend_from_slice(&[1, 0, 0, 0x11, 0, 0]);
    let mut bytes = request(Version::Lzo, &[STUB, "-c", "a.c"], b"");
    bytes.truncate(bytes.len() - 12);
    packet("DOTI", &stream, &mut bytes);
    bytes
}

/// What clients send to a server that never answers.
fn recorded(workspace: &Workspace) -> Vec<Vec<u8>> {
    workspace.write("sample.h", "static inline int twice(int x) { return 2 * x; }\n");
    workspace
        .write("sample.c", "#include \"sample.h\"\n#include <stddef.h>\nint f(int x) { return twice(x); }\n");
    let kinds = [Some(Kind::Ours), stock("distcc").map(|_| Kind::Stock)];
    let mut requests = Vec::new();
    for kind in kinds.into_iter().flatten() {
        for option in ["", ",lzo"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let hosts = format!("{}{option}", listener.local_addr().unwrap());
            let mut client = workspace.client(kind, &hosts);
            client.env("DISTCC_FALLBACK", "0").stderr(std::process::Stdio::null());
            client.args([STUB, "-O2", "-g", "-Wall", "-c", "sample.c", "-o", "sample.o"]);
            let mut client = client.spawn().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            // A client may try again, by another name for the compiler; nobody would answer that.
            drop(listener);
            // The client sends everything before it waits for an answer.
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let (mut bytes, begun) = (Vec::new(), Instant::now());
            let _ = stream.read_to_end(&mut bytes);
            assert!(begun.elapsed() < Duration::from_secs(10) && bytes.starts_with(b"DIST"));
            drop(stream);
            client.wait().unwrap();
            requests.push(bytes);
        }
    }
    requests
}
