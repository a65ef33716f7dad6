use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use distcc::wire::{lzo, request};

use crate::util::peer::exchange;
use crate::util::*;

/// One entry of a request.
enum Entry<'a> {
    File(&'a str, &'a [u8]),
    /// A body as it is on the wire.
    Raw(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
}

use Entry::{File, Link, Raw};

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    lzo::Encoder::new().compress(bytes, &mut body);
    body
}

fn request_in(directory: &str, argv: &[&str], entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    request::encode_pump_head(directory.as_bytes(), argv, entries.len() as u32, &mut bytes);
    for entry in entries {
        match entry {
            File(name, contents) => {
                let body = compressed(contents);
                request::encode_file(name.as_bytes(), body.len() as u32, &mut bytes);
                bytes.extend_from_slice(&body);
            }
            Raw(name, body) => {
                request::encode_file(name.as_bytes(), body.len() as u32, &mut bytes);
                bytes.extend_from_slice(body);
            }
            Link(name, target) => request::encode_link(name.as_bytes(), target.as_bytes(), &mut bytes),
        }
    }
    bytes
}

/// A job that works: source, directory and words.
const COMMAND: [&str; 5] = ["gcc", "-c", "a.c", "-o", "a.o"];
const SOURCE: Entry = File("/w/a.c", b"int x;\n");

fn request(entries: &[Entry]) -> Vec<u8> {
    request_in("/w", &COMMAND, entries)
}

/// Everything below a directory, with its contents.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                dirs.push(path.clone());
                found.insert(path, Vec::new());
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                found.insert(path, target);
            } else {
                let contents = fs::read(&path).unwrap();
                found.insert(path, contents);
            }
        }
    }
    found
}

#[test]
fn nothing_outside_the_root_is_touched() {
    let workspace = Workspace::new("escape");
    let outside = workspace.path("outside");
    fs::create_dir_all(outside.join("include")).unwrap();
    fs::write(outside.join("include/kept.h"), "kept").unwrap();
    fs::write(outside.join("victim"), "kept").unwrap();
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    let before = snapshot(&outside);
    let outside = outside.to_str().unwrap();
    let up = "../".repeat(40);
    let climb = format!("/w/{up}{}", &outside[1..]);
    let to_outside = format!("{up}{}", &outside[1..]);
    // The one pattern that leads out, by which nothing may be written.
    let system = format!("{outside}/include");
    let system_target = format!("{up}{}/include", &outside[1..]);
    let kept = format!("{system}/kept.h");
    let new = format!("{system}/new/x.h");
    let deep = format!("/w{}/x.h", "/d".repeat(254));
    let deeper = format!("/w{}/x.h", "/d".repeat(255));
    let long_name = format!("/w/{}", "n".repeat(256));
    let long_path = format!("/w/{}", "n/".repeat(2100));
    let evil: &[u8] = b"evil\n";
    let climbing_file = format!("{climb}/victim");
    let victim = format!("{outside}/victim");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a name that climbs", request(&[SOURCE, File(&climbing_file, evil)]), "contains \"..\""),
        ("a relative name", request(&[File("a.c", evil)]), "does not begin at the root"),
        ("a relative name that climbs", request(&[File(&to_outside, evil)]), "does not begin at the root"),
        ("no name", request(&[File("", evil)]), "does not begin at the root"),
        ("the root as a name", request(&[File("/", evil)]), "names no file"),
        ("a NUL in a name", request(&[File("/w/a\0.c", evil)]), "NUL"),
        ("a NUL in a link", request(&[Link("/w/l", "a\0b")]), "NUL"),
        ("an overlong name", request(&[File(&long_name, evil)]), "no file system takes"),
        ("an overlong path", request(&[File(&long_path, evil)]), "NAME asks for"),
        ("a directory that climbs", request_in(&climb, &COMMAND, &[SOURCE]), "contains \"..\""),
        ("a relative directory", request_in("w", &COMMAND, &[SOURCE]), "does not begin at the root"),
        ("no directory", request_in("", &COMMAND, &[SOURCE]), "does not begin at the root"),
        ("too deep", request(&[SOURCE, File(&deeper, evil)]), "too many directories"),
        ("a link that climbs", request(&[Link("/w/l", &to_outside)]), "leads"),
        ("a link that climbs later", request(&[Link("/w/l", "x/../../../..")]), "\"..\" behind a name"),
        ("an absolute link that climbs", request(&[Link("/w/l", "/w/../..")]), "contains \"..\""),
        ("an empty link", request(&[Link("/w/l", "")]), "is empty"),
        ("a system link to programs", request(&[Link("/usr/bin", &format!("{up}usr/bin"))]), "headers"),
        ("a system link elsewhere", request(&[Link(&system, &format!("{up}etc/include"))]), "leads out"),
        (
            "a file over what a system link leads to",
            request(&[SOURCE, Link(&system, &system_target), File(&kept, evil)]),
            "kept.h",
        ),
        (
            "a new directory behind a system link",
            request(&[SOURCE, Link(&system, &system_target), File(&new, evil)]),
            "new/x.h",
        ),
        (
            "a file behind a link inside",
            request(&[SOURCE, Link("/w/l", "/w"), File("/w/l/x", evil)]),
            "/w/l/x",
        ),
        ("a link behind a link", request(&[SOURCE, Link("/w/l", "."), Link("/w/l/m", "x")]), "/w/l/m"),
        (
            "a system link behind two links",
            request(&[
                Link("/a", "/b"),
                Link("/b", "/"),
                Link("/a/usr/include", &format!("{up}a/usr/include")),
            ]),
            "/a/usr",
        ),
        ("a link twice", request(&[Link("/w/l", "x"), Link("/w/l", "x")]), "/w/l"),
        ("a link over a directory", request(&[File("/w/d/x", b""), Link("/w/d", "x")]), "/w/d"),
        ("a file over a directory", request(&[File("/w/d/x", b""), File("/w/d", b"")]), "/w/d"),
        ("a directory over a file", request(&[File("/w/d", b""), File("/w/d/x", b"")]), "/w/d/x"),
        ("a file as directory", request_in("/w/a.c/d", &COMMAND, &[SOURCE]), "/w/a.c"),
        ("a corrupt body", request(&[Raw("/w/a.c", b"\xff\xffgarbage")]), "FILE cannot be expanded"),
        ("a body that goes on", request(&[Raw("/w/a.c", b"\x12a\x11\0\0more")]), "FILE cannot be expanded"),
        ("words that climb", request_in("/w", &["gcc", "-c", "a.c", "-I../.."], &[SOURCE]), "leads out"),
        ("a source that climbs", request_in("/w", &["gcc", "-c", "../../a.c"], &[SOURCE]), "leads out"),
        (
            "an include path that climbs",
            request_in("/w", &["gcc", "-c", "a.c", "-include", "/../../etc/passwd"], &[SOURCE]),
            "leads out",
        ),
        (
            "a dependency file elsewhere by way of words",
            request_in("/w", &["gcc", "-c", "a.c", &format!("-Wp,-MD,{victim}")], &[SOURCE]),
            "-Wp,",
        ),
    ];
    for (name, bytes, says) in cases {
        let log = daemon.log().len();
        let reply = exchange(daemon.port, &bytes, false).unwrap_or_else(|| panic!("{name}: not closed"));
        assert!(reply.starts_with(b"DONE00000003STAT00006"), "{name}: {}", reply.escape_ascii());
        wait_until("the log has a line", || daemon.log()[log..].contains("dcc_job_summary"));
        assert!(daemon.log()[log..].contains(says), "{name}: {}", &daemon.log()[log..]);
        assert!(!daemon.log()[log..].contains("COMPILE_"), "{name}: a compiler has run");
        assert_eq!(snapshot(Path::new(outside)), before, "{name}");
    }
    for (name, bytes, status) in [
        // What only looks bad.
        ("the deepest path", request(&[SOURCE, File(&deep, b"")]), "0000"),
        ("a file twice", request(&[File("/w/a.c", b"#error\n"), SOURCE]), "0000"),
        ("a file over a link", request(&[SOURCE, Link("/w/l", &victim), File("/w/l", evil)]), "0000"),
        ("a link that leads nowhere", request(&[SOURCE, Link("/w/l", "none")]), "0000"),
        ("links in a circle", request(&[SOURCE, Link("/w/l", "m"), Link("/w/m", "l")]), "0000"),
        ("the source is a link", request(&[Link("/w/a.c", "/w/b.c"), File("/w/b.c", b"int x;\n")]), "0000"),
        ("the system's headers", request(&[SOURCE, Link(&system, &system_target)]), "0000"),
        (
            "an object and a dependency file elsewhere",
            request_in("/w", &["gcc", "-c", "a.c", "-o", &victim, "-MD", "-MF", &victim], &[SOURCE]),
            "0000",
        ),
        ("no files", request(&[]), "0100"),
        ("a source that is a directory", request(&[File("/w/a.c/x", b"")]), "0100"),
    ] {
        let reply = exchange(daemon.port, &bytes, false).unwrap_or_else(|| panic!("{name}: not closed"));
        let shown = reply.escape_ascii().to_string();
        assert!(shown.starts_with(&format!("DONE00000003STAT0000{status}")), "{name}: {shown}");
        assert_eq!(snapshot(Path::new(outside)), before, "{name}");
    }
    workspace.assert_clean();
    daemon.stop();
}

/// What a request announces is believed up to a limit, and what it does not bring is missed.
#[test]
fn announcements_are_bounded_and_ends_noticed() {
    let workspace = Workspace::new("announced");
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    let whole = request(&[SOURCE, File("/w/b.h", b"")]);
    let head = request(&[]);
    let head = &head[..head.len() - 12];
    let with = |tail: &[u8]| [head, tail].concat();
    for (name, bytes, close, says) in [
        ("too many files", with(b"NFILffffffff"), false, "NFIL asks for"),
        ("a huge name", with(b"NFIL00000001NAMEffffffff"), false, "NAME asks for"),
        ("a huge file", with(b"NFIL00000001NAME00000002/aFILEffffffff"), false, "FILE asks for"),
        ("a huge link", with(b"NFIL00000001NAME00000002/aLINKffffffff"), false, "LINK asks for"),
        ("another token", with(b"NFIL00000001NAME00000002/aBLOB00000000"), false, "expected the token FILE"),
        ("fewer files than announced", with(b"NFIL00000064NAME00000002/aFILE00000000"), true, "before NAME"),
        ("a file cut short", whole[..whole.len() - 40].to_vec(), true, "closed before"),
        ("a link cut short", with(b"NFIL00000001NAME00000002/aLINK00000005ab"), true, "before LINK"),
    ] {
        let log = daemon.log().len();
        exchange(daemon.port, &bytes, close).unwrap_or_else(|| panic!("{name}: not closed"));
        wait_until("the log has a line", || daemon.log()[log..].contains("dcc_job_summary"));
        assert!(daemon.log()[log..].contains(says), "{name}: {}", &daemon.log()[log..]);
    }
    workspace.assert_clean();
    daemon.stop();
}

/// Bombs: small on the wire, large on the disk. The workers' memory stays as it was.
#[test]
fn many_files_and_large_ones_are_stored_in_bounded_memory() {
    let workspace = Workspace::new("bombs");
    let daemon = Daemon::ours(&workspace, &["--jobs", "1"]);
    // Random text, which does not shrink below what is expanded at once.
    let mut state = 1u64;
    let noise: String = (0..400_000)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            char::from(b'a' + (state >> 33) as u8 % 26)
        })
        .collect();
    let large = format!("// {noise}\n#define LARGE 1\n");
    assert!(compressed(large.as_bytes()).len() > 128 * 1024);
    let names: Vec<String> = (0..3000).map(|number| format!("/w/{}/{number}.h", number % 7)).collect();
    let source = b"#include \"large.h\"\n#include \"2/9.h\"\nint x[LARGE];\n";
    let mut entries: Vec<Entry> = names.iter().map(|name| File(name, b"#pragma once\n")).collect();
    entries.push(File("/w/large.h", b"an older one"));
    entries.push(File("/w/large.h", large.as_bytes()));
    entries.push(File("/w/a.c", source));
    let bytes = request(&entries);
    let reply = exchange(daemon.port, &bytes, false).unwrap();
    assert!(reply.starts_with(b"DONE00000003STAT00000000"), "{}", reply[..200].escape_ascii());
    workspace.assert_clean();
    let settled = daemon.memory();
    let zeros = vec![b' '; 15 << 20];
    let bomb = compressed(&zeros);
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    let names: Vec<String> = (0..20).map(|number| format!("/w/{number}.h")).collect();
    let mut entries: Vec<Entry> = names.iter().map(|name| Raw(name, &bomb)).collect();
    entries.push(SOURCE);
    let reply = exchange(daemon.port, &request(&entries), false).unwrap();
    assert!(reply.starts_with(b"DONE00000003STAT00000000"), "{}", reply.escape_ascii());
    workspace.assert_clean();
    let memory = daemon.memory();
    assert!(memory < settled + (8 << 10), "{settled} kB, then {memory} kB");
    daemon.stop();
}

/// A file costs an open, a write and a close, and its part of looking through the tree when that goes.
#[test]
fn a_small_file_costs_few_calls() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: strace is missing; run tests/setup.sh test");
        return;
    }
    let workspace = Workspace::new("calls");
    let names: Vec<String> = (0..1000).map(|number| format!("/w/{}/{number}.h", number / 100)).collect();
    let mut entries: Vec<Entry> = names.iter().map(|name| File(name, b"#pragma once\n")).collect();
    entries.push(SOURCE);
    let bytes = request(&entries);
    let counts = workspace.path("counts");
    fs::create_dir(&counts).unwrap();
    let mut command = workspace.command("strace");
    // One job on standard input and output, so that there is one process; its compilers are not followed.
    command
        .args(["-c", "-S", "calls", "-U", "calls,name", "-o"])
        .arg(counts.join("c"))
        .arg(workspace.path("bin/distccd"));
    command.args(["--inetd", "--log-stderr"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    if !counts.join("c").exists() || fs::read_to_string(counts.join("c")).unwrap().is_empty() {
        assert!(std::env::var_os("CI").is_none(), "strace may not trace here: {}", explain(&output));
        eprintln!("SKIPPED: strace may not trace here");
        return;
    }
    let table = fs::read_to_string(counts.join("c")).unwrap();
    eprintln!("{table}{}", explain(&output));
    let total: u64 = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let count = words.next()?.parse::<u64>().ok()?;
            // In debug builds std asks of each descriptor whether it is open before it closes it.
            (!["total", "fcntl"].contains(&words.next()?)).then_some(count)
        })
        .sum();
    assert!(total > 3000 && total < 5000, "{total} calls for 1000 files");
}
