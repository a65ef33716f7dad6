//! What must hold for any bytes. The fuzz targets look for bytes for which it does not; a test on stable Rust
//! replays the corpus.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use distcc::args::{Root, Verdict, check, check_in, scan};
use distcc::daemon::access::Access;
use distcc::daemon::cmdlist::CommandList;
use distcc::daemon::http::{Head, MAX_HEAD, Page, answer};
use distcc::daemon::tree::Tree;
use distcc::include::lone::{Outcome, directives, outcomes};
use distcc::object::{Agreement, Maker, compare, read_assembly, read_elf};
use distcc::scratch::PrivateDir;
use distcc::wire::lzo::{Encoder, Error, decompress, decompress_in_pieces, max_compressed_len};
use distcc::wire::path::{Rooted, Target};
use distcc::wire::{Version, bodies, include, reply, request as wire};

/// Holds, or panics.
pub type Property = fn(&[u8]);

/// Lists the properties with their names, which are those of the corpus folders.
pub const ALL: &[(&str, Property)] = &[
    ("allow", allow),
    ("command_line", command_line),
    ("command_list", command_list),
    ("depfile", depfile),
    #[cfg(feature = "zeroconf")]
    ("dns", dns),
    ("hosts", hosts),
    ("http", http),
    ("include_bodies", include_bodies),
    ("include_condition", include_condition),
    ("include_expansion", include_expansion),
    ("include_lexer", include_lexer),
    ("include_server", include_server),
    ("job_tree", job_tree),
    ("lzo_decode", lzo_decode),
    ("lzo_round_trip", lzo_round_trip),
    ("object", object),
    ("reply", reply),
    ("request", request),
    ("response_file", response_file),
    ("server_check", server_check),
];

/// Of the decoder. Small, so that the fuzzer finds it.
const CEILING: usize = 1 << 20;

/// The decoder keeps to its ceiling, and what it accepts `lzokay-native` expands alike.
pub fn lzo_decode(stream: &[u8]) {
    let mut plain = b"before".to_vec();
    let result = decompress(stream, &mut plain, CEILING);
    assert!(plain.starts_with(b"before"));
    let plain = plain.split_off(6);
    assert!(plain.len() <= CEILING);
    if result.is_err() {
        assert!(plain.is_empty());
        assert!(decompress_in_pieces(stream, &mut Vec::new(), CEILING, &mut |_| ()).is_err());
        return;
    }

    // The wire has no stream for an empty body, and lzokay takes none.
    if !stream.is_empty() {
        match lzokay_native::decompress_all(stream, None) {
            Ok(theirs) => assert_eq!(theirs, plain),
            Err(_) => assert!(has_odd_end(stream), "lzokay refuses it"),
        }
    }

    // Piece by piece through a window is the same.
    let mut pieces = Vec::new();
    decompress_in_pieces(stream, &mut Vec::new(), CEILING, &mut |piece| pieces.extend_from_slice(piece))
        .unwrap();
    assert_eq!(pieces, plain);

    // Room held already, and a ceiling that leaves no slack, make no difference.
    let mut exact = Vec::with_capacity(plain.len());
    decompress(stream, &mut exact, plain.len()).unwrap();
    assert_eq!(exact, plain);
    if let Some(ceiling) = plain.len().checked_sub(1) {
        assert_eq!(decompress(stream, &mut Vec::new(), ceiling), Err(Error::TooLong { ceiling }));
    }
}

/// The end marker has a length and literals, of which stock peers, and so we, take no notice. lzokay does.
fn has_odd_end(stream: &[u8]) -> bool {
    let Some(before) = stream.strip_suffix(&[0x11, 0, 0]) else {
        return true;
    };
    // `11` may be the last byte of a long length.
    let length = before.iter().rposition(|&byte| byte != 0);
    length.is_some_and(|at| before[at] & 0xf7 == 0x10)
}

/// Any bytes come back, from our decoder and from `lzokay-native`, and the encoder does not remember its
/// past.
pub fn lzo_round_trip(plain: &[u8]) {
    // The first half comes before the whole, so that the table is full of near misses.
    let mut encoder = Encoder::new();
    encoder.compress(&plain[..plain.len() / 2], &mut Vec::new());
    let mut stream = Vec::new();
    encoder.compress(plain, &mut stream);
    assert!(stream.len() <= max_compressed_len(plain.len()));

    let mut fresh = Vec::new();
    Encoder::new().compress(plain, &mut fresh);
    assert_eq!(stream, fresh);

    // As does what comes in pieces.
    let (mut rest, mut in_pieces) = (plain, Vec::new());
    let mut next = |room: &mut [u8]| {
        let (piece, behind) = rest.split_at(rest.len().min(room.len()).min(1 + plain.len() / 3));
        room[..piece.len()].copy_from_slice(piece);
        rest = behind;
        Ok::<_, ()>(piece.len())
    };
    encoder.compress_pieces(&mut vec![1; 100], &mut in_pieces, &mut next).unwrap();
    assert_eq!(in_pieces, stream);

    let mut out = Vec::new();
    decompress(&stream, &mut out, plain.len()).unwrap();
    assert_eq!(out, plain);
    if !plain.is_empty() {
        assert_eq!(lzokay_native::decompress_all(&stream, None).unwrap(), plain);
    }
}

/// A request means the same however it is cut, and comes back when it is encoded again.
pub fn request(bytes: &[u8]) {
    let whole = read_request(&[bytes]);
    let cut = bytes.first().map_or(0, |byte| usize::from(*byte) % (bytes.len() + 1));
    let (a, b) = bytes.split_at(cut);
    assert_eq!(read_request(&[a, b]), whole);
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_request(&singles), whole);
    if let Ok(request @ Request { complete: true, .. }) = whole {
        let again = encode_request(&request);
        assert_eq!(read_request(&[&again]), Ok(request));
    }
}

fn encode_request(request: &Request) -> Vec<u8> {
    let mut out = Vec::new();
    let version = request.version.unwrap();
    let Some(directory) = &request.directory else {
        wire::encode_head(version, &request.argv, request.source.len() as u32, &mut out);
        out.extend_from_slice(&request.source);
        return out;
    };
    assert_eq!(version, Version::Pump);
    let absolute = |path: &Rooted| [b"/", path.as_bytes()].concat();
    // What a path can become must not lead out, whatever it was on the wire.
    let assert_inside = |path: &Rooted| {
        let mut names = path.as_bytes().split(|byte| *byte == b'/');
        assert!(
            path.as_bytes().is_empty() || names.all(|name| !name.is_empty() && name != b".." && name != b".")
        );
        assert!(!path.as_bytes().contains(&0));
    };
    assert_inside(directory);
    wire::encode_pump_head(&absolute(directory), &request.argv, request.entries.len() as u32, &mut out);
    for entry in &request.entries {
        match entry {
            Entry::File(name, body) => {
                assert_inside(name);
                wire::encode_file(&absolute(name), body.len() as u32, &mut out);
                out.extend_from_slice(body);
            }
            Entry::Link(name, target) => {
                assert_inside(name);
                let text = match target {
                    Target::Absolute(path) => absolute(path),
                    Target::Relative(text) => text.clone(),
                    Target::System => [b"../".repeat(name.depth() + 1), name.as_bytes().to_vec()].concat(),
                };
                if let Target::Relative(text) = target {
                    let names =
                        text.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
                    let ups = names.filter(|name| *name == b"..").count();
                    assert!(ups < name.depth() && text[0] != b'/');
                }
                wire::encode_link(&absolute(name), &text, &mut out);
            }
        }
    }
    out
}

#[derive(Debug, Default, PartialEq)]
struct Request {
    version: Option<Version>,
    argv: Vec<Vec<u8>>,
    source: Vec<u8>,
    directory: Option<Rooted>,
    entries: Vec<Entry>,
    complete: bool,
}

#[derive(Debug, PartialEq)]
enum Entry {
    File(Rooted, Vec<u8>),
    Link(Rooted, Target),
}

/// Which error, not its details: how much of a wrong token is shown depends on how much of it had come.
type Kind = std::mem::Discriminant<distcc::wire::Error>;

fn read_request(pieces: &[&[u8]]) -> Result<Request, Kind> {
    let mut decoder = wire::Decoder::new();
    let mut request = Request::default();
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = decoder.next(&mut input).map_err(|e| std::mem::discriminant(&e))? {
            match event {
                wire::Event::Version(version) => request.version = Some(version),
                wire::Event::Command(argv) => request.argv = argv,
                wire::Event::SourceStart(_) => {}
                wire::Event::Source(bytes) => request.source.extend_from_slice(bytes),
                wire::Event::Directory(directory) => request.directory = Some(directory),
                wire::Event::FileStart(name, _) => request.entries.push(Entry::File(name, Vec::new())),
                wire::Event::File(bytes) => match request.entries.last_mut() {
                    Some(Entry::File(_, body)) => body.extend_from_slice(bytes),
                    _ => panic!("bytes of no file"),
                },
                wire::Event::FileEnd => {}
                wire::Event::Link(name, target) => request.entries.push(Entry::Link(name, target)),
                wire::Event::End => request.complete = true,
            }
        }
    }
    Ok(request)
}

/// A reply means the same however it is cut.
pub fn reply(bytes: &[u8]) {
    for version in [Version::Plain, Version::Lzo, Version::Pump] {
        let whole = read_reply(version, &[bytes]);
        let cut = bytes.last().map_or(0, |byte| usize::from(*byte) % (bytes.len() + 1));
        let (a, b) = bytes.split_at(cut);
        assert_eq!(read_reply(version, &[a, b]), whole);
        let singles: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_reply(version, &singles), whole);
    }
}

type Parts = (Option<u32>, Vec<Vec<u8>>, bool);

fn read_reply(version: Version, pieces: &[&[u8]]) -> Result<Parts, Kind> {
    let mut decoder = reply::Decoder::new(version);
    let (mut status, mut parts, mut complete) = (None, Vec::<Vec<u8>>::new(), false);
    for piece in pieces {
        let mut input = *piece;
        while let Some(event) = decoder.next(&mut input).map_err(|e| std::mem::discriminant(&e))? {
            match event {
                reply::Event::Status(number) => status = Some(number),
                reply::Event::PartStart(..) => parts.push(Vec::new()),
                reply::Event::Bytes(_, bytes) => parts.last_mut().unwrap().extend_from_slice(bytes),
                reply::Event::PartEnd(_) => {}
                reply::Event::End => complete = true,
            }
        }
    }
    Ok((status, parts, complete))
}

/// Names that no word of a command line below can be.
const IN: &str = "in\n.i";
const OUT: &str = "out\n.o";

/// Words separated by newlines: what our client sends, our server accepts, and neither falls over anything.
pub fn command_line(bytes: &[u8]) {
    let words: Vec<OsString> =
        bytes.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec())).collect();
    let as_bytes =
        |words: &[OsString]| -> Vec<Vec<u8>> { words.iter().map(|word| word.as_bytes().to_vec()).collect() };
    if let Ok(job) = check(&as_bytes(&words)) {
        let command = job.command(IN.as_ref(), OUT.as_ref());
        assert_eq!(command.iter().filter(|word| *word == IN).count(), 1, "{command:?}");
        assert_eq!(command.iter().filter(|word| *word == OUT).count(), 1, "{command:?}");
    }
    if let Verdict::Remote(job) = scan(&words) {
        if words.iter().all(|word| !word.as_bytes().contains(&0)) {
            let sent = as_bytes(&job.server_argv());
            assert!(check(&sent).is_ok(), "{:?}: {}", job.server_argv(), check(&sent).unwrap_err());
        }
        job.preprocess_argv();
        if let Ok(sent) = job.pump_argv(Path::new("/w/x"), Path::new("/w/x")) {
            // Paths that climb are the one thing that a server sees differently: it has no more above its root.
            let climbs = words.iter().any(|word| word.as_bytes().windows(2).any(|pair| pair == b".."));
            if words.iter().all(|word| !word.as_bytes().contains(&0)) && !climbs {
                let sent = as_bytes(&sent);
                assert!(
                    check_in(&sent, 2, &|_| None).is_ok(),
                    "{words:?}: {}",
                    check_in(&sent, 2, &|_| None).unwrap_err()
                );
            }
        }
    }
    if let Ok(job) = check_in(&as_bytes(&words), 2, &|_| None) {
        let root = Root { path: "/R".as_ref(), output: OUT.as_ref(), dependencies: "out.d".as_ref() };
        let command = job.command_in(&root, |_| false);
        assert_eq!(command.iter().filter(|word| *word == OUT).count(), 1, "{command:?}");
    }
}

/// What an include server says, and what it is asked, mean the same however they are cut.
pub fn include_server(bytes: &[u8]) {
    let question = read(bytes, include::QuestionDecoder::new, include::QuestionDecoder::take);
    if let Ok(Some(question)) = question {
        let mut again = Vec::new();
        include::encode_question(&question.directory, &question.argv, &mut again);
        assert_eq!(include::QuestionDecoder::new().take(&mut &again[..]), Ok(Some(question)));
    }
    let answer = read(bytes, include::AnswerDecoder::new, include::AnswerDecoder::take);
    if let Ok(Some(paths)) = answer {
        let mut again = Vec::new();
        include::encode_answer(&paths, &mut again);
        assert_eq!(include::AnswerDecoder::new().take(&mut &again[..]), Ok(Some(paths)));
    }
}

/// The same for what our own client and our own include server say to each other.
pub fn include_bodies(bytes: &[u8]) {
    let inquiry = read(bytes, bodies::InquiryDecoder::default, bodies::InquiryDecoder::take);
    if let Ok(Some(inquiry)) = inquiry {
        let bodies::Inquiry { lines, context, question } = &inquiry;
        let mut again = Vec::new();
        bodies::encode_inquiry(*lines, context, &question.directory, &question.argv, &mut again);
        assert_eq!(bodies::InquiryDecoder::default().take(&mut &again[..]), Ok(Some(inquiry)));
    }
    let answer = read(bytes, bodies::AnswerDecoder::default, bodies::AnswerDecoder::take);
    if let Ok(Some(answer)) = answer {
        let mut again = Vec::new();
        bodies::encode_answer(&answer, &mut again);
        let read_again = bodies::AnswerDecoder::default().take(&mut &again[..]).unwrap().unwrap();
        match (&answer, &read_again) {
            // Bytes that are no UTF-8 become characters of three, and a reason is cut where it is too long.
            (Err(reason), Err(again)) => assert!(reason.starts_with(again.as_str())),
            _ => assert_eq!(read_again, answer),
        }
    }
}

/// What a decoder makes of `bytes`, whole and byte by byte; the value once it is complete.
fn read<D, T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    new: impl Fn() -> D,
    take: impl Fn(&mut D, &mut &[u8]) -> Result<Option<T>, distcc::wire::Error>,
) -> Result<Option<T>, Kind> {
    let read = |size: usize| {
        let mut decoder = new();
        for mut piece in bytes.chunks(size) {
            if let Some(value) = take(&mut decoder, &mut piece).map_err(|e| std::mem::discriminant(&e))? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(read(1), whole);
    whole
}

/// A job with files and links, one a line behind the line with its directory: `F` and a path, or `L`, a path, a null byte
/// and where the link leads. A byte 1 stands for a directory of the server's, which such a job must not change, with one
/// of headers in it. Whatever comes, there is nothing new but below the job's root; and all that its links lead to
/// is there, or in the server's own directory of headers that has the link's name.
pub fn job_tree(bytes: &[u8]) {
    const KEPT: &[u8] = b"kept";
    let sandbox = PrivateDir::new(&std::env::temp_dir(), "distcc-fuzz-").unwrap();
    let servers = fs::canonicalize(sandbox.path()).unwrap();
    fs::create_dir(servers.join("include")).unwrap();
    fs::write(servers.join("include/h.h"), KEPT).unwrap();

    let text = bytes.split(|byte| *byte == 1).collect::<Vec<_>>().join(servers.as_os_str().as_bytes());
    let mut lines = text.split(|byte| *byte == b'\n');
    let directory = lines.next().unwrap_or_default();
    let entries: Vec<&[u8]> = lines.take(50).filter(|line| !line.is_empty()).collect();
    let mut request = Vec::new();
    wire::encode_pump_head(directory, &["gcc"], entries.len() as u32, &mut request);
    for entry in entries {
        let mut parts = entry[1..].splitn(2, |byte| *byte == 0);
        let (name, target) = (parts.next().unwrap_or_default(), parts.next());
        match target {
            Some(target) if entry[0] == b'L' => wire::encode_link(name, target, &mut request),
            _ => {
                let body = b"\x15evil\x11\0\0";
                wire::encode_file(name, body.len() as u32, &mut request);
                request.extend_from_slice(body);
            }
        }
    }
    make_tree(&servers, &request);
    let left: Vec<_> = fs::read_dir(&servers).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["include"]);
    let left: Vec<_> = fs::read_dir(servers.join("include")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read(servers.join("include/h.h")).unwrap(), KEPT);
}

/// What a worker does with a request, up to its end or the first thing wrong with it; and what has become of it then.
fn make_tree(servers: &Path, request: &[u8]) {
    let (mut decoder, mut input) = (wire::Decoder::new(), request);
    let (mut tree, mut buffer, mut systems) = (None, Vec::new(), Vec::new());
    while let Ok(Some(event)) = decoder.next(&mut input) {
        if let wire::Event::Directory(directory) = &event {
            // Together the names may be longer than any path.
            tree = Tree::in_directory(servers, directory).ok();
        }
        let Some(tree) = &mut tree else { continue };
        let done = match event {
            wire::Event::FileStart(name, len) => tree.file(name, len).is_ok(),
            wire::Event::File(bytes) => tree.bytes(bytes, true, &mut buffer).is_ok(),
            wire::Event::FileEnd => tree.end(&mut buffer).is_ok(),
            wire::Event::Link(name, target) => {
                if target == Target::System {
                    systems.push(Path::new("/").join(OsStr::from_bytes(name.as_bytes())));
                }
                tree.link(&name, &target).is_ok()
            }
            _ => true,
        };
        if !done {
            break;
        }
    }
    if let Some(tree) = tree {
        assert!(tree.path().starts_with(servers));
        // A system's directory may itself be a link.
        systems.extend(systems.clone().iter().filter_map(|system| fs::canonicalize(system).ok()));
        assert_inside(tree.path(), tree.path(), &systems);
    }
}

fn assert_inside(directory: &Path, root: &Path, systems: &[PathBuf]) {
    // A path of the job's may be too long for one call.
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            assert_inside(&path, root, systems);
        } else if metadata.is_symlink() {
            let Ok(real) = fs::canonicalize(&path) else { continue };
            let is_inside = real.starts_with(root) || systems.iter().any(|system| real.starts_with(system));
            assert!(is_inside, "{} leads to {}", path.display(), real.display());
        }
    }
}

/// Every entry of a host list is a host that can be used, or a problem with its reason.
pub fn hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let list = distcc::hosts::parse(text);
    assert!(
        list.hosts.iter().all(|host| host.slots >= 1 && !host.name().is_empty() && !host.spec.is_empty())
    );
    assert!(list.local_slots >= 1 && list.local_cpp_slots >= 1);
    assert!(list.problems.iter().all(|problem| problem.line >= 1 && !problem.reason.is_empty()));
    // A host's own words mean the host.
    for host in &list.hosts {
        assert_eq!(distcc::hosts::parse(&host.spec).hosts, std::slice::from_ref(host));
    }
}

/// Whoever an object says has made it, it agrees with itself, a compiler of another kind of machine does not agree with
/// it, and what is read is no longer than what says it.
pub fn object(bytes: &[u8]) {
    let elf = read_elf(bytes);
    for maker in elf.iter().chain([&read_assembly(bytes)]) {
        // A byte that is no UTF-8 becomes a character of three.
        assert!(maker.idents.iter().map(String::len).sum::<usize>() <= 3 * bytes.len());
        for agreement in [Agreement::Machine, Agreement::Version, Agreement::Ident] {
            assert_eq!(compare(maker, maker, agreement), None);
        }
        let nobody = Maker { target: maker.target, idents: Vec::new() };
        let difference = compare(&nobody, maker, Agreement::Ident);
        assert_eq!(difference.is_some(), !maker.idents.is_empty());
        assert!(difference.is_none_or(|difference| !difference.to_string().is_empty()));
    }
    if let Some(target) = elf.as_ref().and_then(|maker| maker.target) {
        let mut other = target;
        other.machine ^= 1;
        let other = Maker { target: Some(other), idents: Vec::new() };
        assert!(elf.is_some_and(|maker| compare(&maker, &other, Agreement::Machine).is_some()));
    }
}

/// Words come from a response file as from libiberty's `buildargv` (written anew here), unless the file is left alone.
pub fn response_file(text: &[u8]) {
    let argv = ["gcc", "@file"].map(OsString::from);
    let mut reads = 0;
    let expanded = distcc::args::expand(&argv, |_| {
        reads += 1;
        (reads == 1).then(|| text.to_vec())
    });
    let Some(expanded) = expanded else { return };
    assert_eq!(expanded[0], "gcc");
    assert_eq!(expanded[1..], libiberty_words(text));
}

fn libiberty_words(text: &[u8]) -> Vec<OsString> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let (mut inside, mut escaped, mut quote) = (false, false, 0);
    for &byte in text {
        let ends = byte.is_ascii_whitespace() && !escaped && quote == 0;
        if ends {
            inside = false;
            continue;
        }
        if !inside {
            words.push(Vec::new());
            inside = true;
        }
        let word = words.last_mut().unwrap();
        match byte {
            _ if escaped => {
                word.push(byte);
                escaped = false;
            }
            b'\\' => escaped = true,
            _ if quote == byte => quote = 0,
            b'\'' | b'"' if quote == 0 => quote = byte,
            _ => word.push(byte),
        }
    }
    words.into_iter().map(OsString::from_vec).collect()
}

/// What makes a compiler read or write other files, run or load something: said by their manuals, not by our table.
const HARMFUL: [&str; 33] = [
    "@",
    "-B",
    "-specs",
    "--specs",
    "-wrapper",
    "-fplugin",
    "-fpass-plugin",
    "-iplugindir",
    "-save-temps",
    "--save-temps",
    "-include",
    "-imacros",
    "-I",
    "-isystem",
    "-L",
    "-l",
    "-Xclang",
    "-Xassembler",
    "-Xlinker",
    "-mllvm=",
    "-dumpdir",
    "-dumpbase",
    "-fdump",
    "-MF",
    "-MD",
    "-MMD",
    "-aux-info",
    "-fprofile-use",
    "-fmodule",
    "-resource-dir",
    "--config",
    "-working-directory",
    "-load",
];

/// Options whose value may show a path because the compiler only records it.
const RECORDED: [&str; 10] = [
    "-Wa,-m",
    "-Wa,--",
    "-fcoverage-compilation-dir=",
    "-fcoverage-prefix-map=",
    "-fdebug-compilation-dir=",
    "-fdebug-prefix-map=",
    "-ffile-compilation-dir=",
    "-ffile-prefix-map=",
    "-fmacro-prefix-map=",
    "-frandom-seed=",
];

/// And those with a list of files to leave out of instrumenting, and the name that an instrumented program will write.
const RECORDED_ELSEWHERE: [&str; 2] =
    ["-finstrument-functions-exclude-file-list=", "-fprofile-instr-generate"];

/// Words separated by newlines: what the server's check lets through names no file but the server's two, and nothing
/// that compilers are known to run, load or write to.
pub fn server_check(bytes: &[u8]) {
    let argv: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let job = match check(&argv) {
        Ok(job) => job,
        Err(refusal) => {
            let text = refusal.to_string();
            return assert!(!text.contains(char::is_control), "a log line is one line: {text:?}");
        }
    };
    let input = format!("IN.{}", job.preprocessed_extension());
    let command = job.command(input.as_ref(), "OUT".as_ref());
    let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
    let at_output = words.iter().position(|word| *word == b"-o").unwrap();
    assert_eq!(words[at_output + 1], b"OUT", "{command:?}");
    let starts = |word: &[u8], list: &[&str]| list.iter().any(|it| word.starts_with(it.as_bytes()));
    for (at, word) in words.iter().enumerate() {
        if *word == input.as_bytes() || at == at_output || at == at_output + 1 {
            continue;
        }
        assert!(!starts(word, &HARMFUL) && *word != b"-mllvm", "{} of {command:?}", word.escape_ascii());
        // An empty word can only be a value, which the compiler complains about.
        assert!(!word.contains(&0), "{command:?}");
        if word.contains(&b'/') {
            assert!(starts(word, &RECORDED) || starts(word, &RECORDED_ELSEWHERE), "{command:?}");
        }
        if *word == b"-x" {
            let language = words[at + 1];
            assert!(language.ends_with(b"cpp-output"), "the text is preprocessed: {command:?}");
        }
    }
    // What has been let through is let through again, unchanged.
    let again: Vec<Vec<u8>> =
        std::iter::once(job.compiler().to_vec()).chain(words.iter().map(|word| word.to_vec())).collect();
    let again = check(&again).unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert_eq!(again.command(input.as_ref(), "OUT".as_ref()), command);
}

/// An allow-list means the bits that it shows, and the same when it is read again.
pub fn allow(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // No name is known but one, which has an address of each family.
    let look_up = |name: &str| match name {
        "both" => Ok(vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])]),
        _ => Err(io::Error::other("no such host")),
    };
    let access = match Access::parse_with([text], look_up) {
        Ok(access) => access,
        Err(reason) => return assert!(reason.starts_with("--allow "), "{reason}"),
    };
    let shown = access.to_string();
    assert_eq!(Access::parse([shown.as_str()]).as_ref(), Ok(&access), "{shown}");
    for range in shown.split_whitespace() {
        let alone = Access::parse([range]).unwrap();
        let (address, len) = range.split_once('/').unwrap_or_else(|| panic!("{range} has no length"));
        let (address, len): (IpAddr, u32) = (address.parse().unwrap(), len.parse().unwrap());
        assert!(alone.allows(address) && access.allows(address), "{range}");
        // The last bit of the network makes another network, the next one does not.
        if let Some(other) = with_bit_flipped(address, len.wrapping_sub(1)) {
            assert!(!alone.allows(other) || other.to_canonical() != other, "{range} allows {other}");
        }
        if let Some(other) = with_bit_flipped(address, len) {
            assert!(alone.allows(other) || other.to_canonical() != other, "{range} does not allow {other}");
        }
    }
}

/// `None` if the address has no such bit, counted from the left.
fn with_bit_flipped(address: IpAddr, bit: u32) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            IpAddr::from((u32::from(address) ^ (1 << 31u32.checked_sub(bit)?)).to_be_bytes())
        }
        IpAddr::V6(address) => {
            IpAddr::from((u128::from(address) ^ (1 << 127u32.checked_sub(bit)?)).to_be_bytes())
        }
    })
}

/// A command list runs only what it lists, and only for what ends alike: its number of words, then the list, then behind
/// a null byte what a client wants.
pub fn command_list(bytes: &[u8]) {
    let Some((words, rest)) = bytes.split_first() else { return };
    let words = usize::from(*words % 8).max(1);
    let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (text, wanted) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
    let list = CommandList::parse(text, words);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    for command in list.commands() {
        assert!(!command.is_empty());
        assert!(lines.iter().any(|line| line.strip_suffix(b"\r").unwrap_or(line) == command));
        // What is listed is found, if not hidden by an earlier line that ends alike.
        let found = list.find(command).unwrap();
        assert_eq!(ending(found, words), ending(command, words));
    }
    if let Some(found) = list.find(wanted) {
        assert!(list.commands().any(|command| command == found));
        assert_eq!(ending(found, words), ending(wanted, words));
    }
}

/// The last words between slashes, all of it if there are no more; a slash at the start separates nothing.
fn ending(command: &[u8], words: usize) -> Vec<u8> {
    let behind_first = command.get(1..).unwrap_or_default();
    let parts: Vec<&[u8]> = behind_first.split(|byte| *byte == b'/').collect();
    match parts.len().checked_sub(words) {
        None | Some(0) => command.to_vec(),
        Some(others) => parts[others..].join(&b'/'),
    }
}

/// The head of an HTTP request asks for the same page however it is cut, and is never longer than it may be.
pub fn http(bytes: &[u8]) {
    let whole = read_head(bytes.chunks(bytes.len().max(1)));
    let cut = bytes.last().map_or(0, |byte| usize::from(*byte) % (bytes.len() + 1));
    let (a, b) = bytes.split_at(cut);
    assert_eq!(read_head([a, b].into_iter()), whole);
    assert_eq!(read_head(bytes.chunks(1)), whole);
    assert!(whole.0 || bytes.len() < MAX_HEAD, "a long head ends");
    let text = answer(whole.1, "body");
    assert!(text.starts_with(b"HTTP/1.0 200 OK") && text.ends_with(b"\nbody"));
}

/// Whether the head has ended, and what it asks for so far.
fn read_head<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> (bool, Page) {
    let mut head = Head::default();
    match pieces.find_map(|piece| head.take(piece)) {
        Some(page) => (true, page),
        None => (false, head.page()),
    }
}

/// Any bytes are a source with directives, in every dialect.
pub fn include_lexer(bytes: &[u8]) {
    directives(bytes);
    // Carriage returns before newlines, and a byte order mark, change nothing.
    if !bytes.contains(&b'\r') && !bytes.contains(&b'\\') && !bytes.starts_with(b"\xEF\xBB\xBF") {
        let with_returns: Vec<u8> = bytes
            .iter()
            .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(byte) })
            .copied()
            .collect();
        let marked = [&b"\xEF\xBB\xBF"[..], bytes].concat();
        assert_eq!(directives(bytes)[0], directives(&with_returns)[0]);
        assert_eq!(directives(bytes), directives(&marked));
    }
}

/// A condition, in the midst of macros: the opposite of what its negation is.
pub fn include_condition(bytes: &[u8]) {
    // Two questions about one line; a comment or splice would swallow the second.
    let Some((macros, condition)) = split_last_line(bytes) else { return };
    if condition.is_empty() || condition.iter().any(|byte| b"\"'/\\\r#".contains(byte)) {
        return;
    }
    // A parenthesis that closes ours, from here or from a macro, makes `!` one of a part.
    if !bytes.split(|byte| *byte == b'\n').all(is_balanced)
        || macros.iter().any(|byte| b"\"'/\\".contains(byte))
    {
        return;
    }
    let text = [macros, b"\n#if (", condition, b")\n#if !(", condition, b")\n"].concat();
    let all = outcomes(&text);
    if let [.., Outcome::Condition(one), Outcome::Condition(other)] = &all[..] {
        assert_eq!(one.map(|truth| !truth), *other);
    }
}

/// Whether every parenthesis on a line has its other one, in this order, and none may be hidden.
fn is_balanced(line: &[u8]) -> bool {
    let mut open = 0;
    let never_below = line.iter().all(|byte| {
        open += i32::from(*byte == b'(') - i32::from(*byte == b')');
        open >= 0
    });
    let hides =
        line.iter().any(|byte| b"()".contains(byte)) && line.iter().any(|byte| b"\"'/\\".contains(byte));
    never_below && open == 0 && !hides
}

/// Text in the midst of macros; what is once expanded without them stays as it is.
pub fn include_expansion(bytes: &[u8]) {
    let Some(Outcome::Text(text)) = outcomes(bytes).pop() else { return };
    assert!(!text.contains(&b'\n') || bytes.contains(&b'\n'));
    if let [Outcome::Text(again)] = &outcomes(&[b"x ", &text[..]].concat())[..] {
        assert!(again.len() <= text.len() + 2);
    }
}

fn split_last_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().rposition(|byte| *byte == b'\n')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// A dependency file in which 1 stands for the path of the job's root: the same names without the root, whatever the
/// layout.
pub fn depfile(bytes: &[u8]) {
    use distcc::daemon::depfile::clean;

    const ROOT: &[u8] = b"/tmp/distccd_7_aB3xYz";
    let with = |instead: &[u8]| bytes.split(|byte| *byte == 1).collect::<Vec<_>>().join(instead);
    let (text, plain) = (with(ROOT), with(b""));
    // Names that only become the root's when it is gone from them are nobody's.
    if plain.windows(ROOT.len()).any(|window| window == ROOT) {
        return;
    }
    let cleaned = clean(&text, ROOT);
    let names = |text: &[u8]| {
        let words = text.split(|byte| b" \n".contains(byte));
        words.filter(|word| !word.is_empty() && *word != b"\\").map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(names(&cleaned), names(&plain));
    assert_eq!(clean(&cleaned, ROOT), cleaned);
    // No more than blanks and line breaks can be added.
    assert!(cleaned.len() <= 4 * plain.len() + 4);
}

/// A message of a neighbour: what is understood comes back when it is written again, and neither who looks for servers
/// nor who announces one says more than a bounded number of messages because of it.
#[cfg(feature = "zeroconf")]
pub fn dns(bytes: &[u8]) {
    use distcc::dns::{Message, Writer};
    use distcc::zeroconf::{Announcer, Browser, PORT, Service, Speaker};
    use std::time::{Duration, Instant};

    if let Ok(Some(message)) = Message::decode(bytes) {
        let mut writer = if message.is_response { Writer::response(message.id) } else { Writer::query() };
        message.questions.iter().for_each(|it| writer.question(it));
        message.answers.iter().for_each(|it| writer.answer(it));
        message.authorities.iter().for_each(|it| writer.authority(it));
        message.additionals.iter().for_each(|it| writer.additional(it));
        let again = Message::decode(&writer.finish()).unwrap().unwrap();
        assert_eq!(again.questions, message.questions);
        assert_eq!(again.answers, message.answers);
        assert_eq!(again.authorities, message.authorities);
        assert_eq!(again.additionals, message.additionals);
    }
    let begun = Instant::now();
    let service = Service {
        host: "a".to_owned(),
        port: 1,
        text: vec!["txtvers=1".to_owned()],
        subtype: Some("_x--1".to_owned()),
    };
    let mut announcer = Announcer::new(service.into(), begun);
    let mut browser = Browser::new(begun);
    let speakers: [&mut dyn Speaker; 2] = [&mut announcer, &mut browser];
    for speaker in speakers {
        let address = IpAddr::from([10, 0, 0, 1]);
        speaker.set_addresses(&[address], &[address], begun);
        let mut said = 0;
        for second in 0..8 {
            let now = begun + Duration::from_secs(second);
            if second == 0 || second > 3 {
                speaker.hear(bytes, ([10, 0, 0, 2], PORT).into(), now);
                speaker.hear(bytes, ([10, 0, 0, 2], 1024).into(), now);
            }
            speaker.advance(now);
            while let Some((_, message)) = speaker.next_message() {
                assert!(message.len() < 9000);
                said += 1;
            }
        }
        assert!(said < 64, "{said}");
    }
    assert!(browser.servers().len() <= 512);
}
