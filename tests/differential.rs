//! Hundreds of option sets, each compiled once by the compiler alone and once through our client and daemon: exit
//! status, standard output, messages and every file must be the same.
//!
//! Both runs take place in the same directory, since debug information names it, with the same files. The table says
//! where each job has to be compiled, so that nothing that used to be distributed becomes local unnoticed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::*;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/differential");

/// One line of the table.
struct Case<'a> {
    remote: bool,
    accepted: Option<&'a str>,
    needs: &'a str,
    command: String,
}

impl<'a> Case<'a> {
    fn parse(line: &'a str) -> Case<'a> {
        let (place, rest) = line.split_once(' ').unwrap();
        let (needs, command) = rest.trim_start().split_once(' ').unwrap();
        let (place, accepted) = match place.split_once(':') {
            Some((place, accepted)) => (place, Some(accepted)),
            None => (place, None),
        };
        let remote = match place {
            "remote" => true,
            "local" => false,
            other => panic!("{other} is no place, in {line}"),
        };
        let command = match command.contains("$D ") {
            true => command.to_owned(),
            false => format!("$D {command}"),
        };
        Case { remote, accepted, needs, command }
    }
}

/// Everything that a user can see of a command.
#[derive(PartialEq, Eq)]
struct Seen {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Path to mode and contents.
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

impl Seen {
    /// Looks at a command's end.
    fn of(output: Output, work: &Path) -> Seen {
        let mut files = BTreeMap::new();
        collect(work, &mut files);
        Seen { status: output.status.code(), stdout: output.stdout, stderr: output.stderr, files }
    }

    /// What is left to compare where some difference is the compiler's own.
    fn without(mut self, accepted: &str) -> Seen {
        let change: fn(&[u8]) -> Vec<u8> = match accepted {
            "snippets" => without_snippets,
            "random" => |text| if text.is_empty() { Vec::new() } else { b"something".to_vec() },
            "order" => |text| {
                let text = without_snippets(text);
                let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
                lines.sort();
                lines.join(&b'\n')
            },
            "temps" => without_temporary_names,
            other => panic!("{other} is not known as a difference"),
        };
        self.stdout = change(&self.stdout);
        self.stderr = change(&self.stderr);
        // Objects are not random.
        let others = |path: &PathBuf| accepted == "random" && path.extension().is_none_or(|it| it != "o");
        for (_, (_, contents)) in self.files.iter_mut().filter(|(path, _)| others(path)) {
            *contents = change(contents);
        }
        self
    }

    /// The differences, in words.
    fn differences(&self, other: &Seen) -> String {
        let mut text = String::new();
        if self.status != other.status {
            text += &format!("  exit status {:?}, with distcc {:?}\n", self.status, other.status);
        }
        for (name, a, b) in [("stdout", &self.stdout, &other.stdout), ("stderr", &self.stderr, &other.stderr)]
        {
            if a != b {
                let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', "\n    | ");
                text += &format!("  {name}:\n    | {}\n   with distcc:\n    | {}\n", show(a), show(b));
            }
        }
        for path in self.files.keys().chain(other.files.keys().filter(|path| !self.files.contains_key(*path)))
        {
            let what = match (self.files.get(path), other.files.get(path)) {
                (Some(_), None) => "is missing with distcc".to_owned(),
                (None, Some(_)) => "is there with distcc only".to_owned(),
                (Some((mode, _)), Some((other, _))) if mode != other => {
                    format!("has mode {mode:o}, with distcc {other:o}")
                }
                (Some((_, a)), Some((_, b))) if a != b => {
                    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
                    format!("differs from byte {at} of {} (with distcc of {})", a.len(), b.len())
                }
                _ => continue,
            };
            text += &format!("  {} {what}\n", path.display());
        }
        text
    }
}

fn collect(directory: &Path, files: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let contents = match metadata.is_dir() {
            true => {
                collect(&path, files);
                Vec::new()
            }
            false => fs::read(&path).unwrap(),
        };
        files.insert(path, (metadata.permissions().mode(), contents));
    }
}

/// Gcc shows the line of the source that a message is about, and marks under it. It takes it from the file, and there
/// is none on a server; so a message from there has its first line only.
fn without_snippets(text: &[u8]) -> Vec<u8> {
    let is_snippet = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let figures = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        line.get(figures..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"|"))
    };
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_snippet(line)).flatten().copied().collect()
}

/// `/tmp/ccXXXXXX.s`: the compiler makes a new name each time.
fn without_temporary_names(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(3).position(|window| window == b"/cc") {
        let random = rest[at + 3..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        out.extend_from_slice(&rest[..at + 3]);
        let skipped = if random == 6 { 6 } else { 0 };
        rest = &rest[at + 3 + skipped..];
    }
    out.extend_from_slice(rest);
    out
}

/// The sources as they were, and nothing else.
fn prepare(workspace: &Workspace, sources: &BTreeMap<PathBuf, Vec<u8>>) {
    let work = workspace.work();
    let mut files = BTreeMap::new();
    collect(&work, &mut files);
    let is_source = |path: &Path| path.strip_prefix(&work).is_ok_and(|name| sources.contains_key(name));
    for path in files.keys().rev().filter(|path| !is_source(path)) {
        let is_directory = path.is_dir();
        if !is_directory {
            fs::remove_file(path).unwrap();
        } else if !sources.keys().any(|name| work.join(name).starts_with(path)) {
            fs::remove_dir(path).unwrap();
        }
    }
    for (name, contents) in sources {
        let path = work.join(name);
        if files.get(&path).is_none_or(|(_, present)| present != contents) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, contents).unwrap();
        }
    }
}

/// The files that every command finds.
fn sources() -> BTreeMap<PathBuf, Vec<u8>> {
    let directory = Path::new(DATA).join("sources");
    let mut files = BTreeMap::new();
    collect(&directory, &mut files);
    let files = files.into_iter().filter(|(path, _)| path.is_file());
    files.map(|(path, (_, contents))| (path.strip_prefix(&directory).unwrap().to_owned(), contents)).collect()
}

/// The command as two: preprocessing, and compiling the text. `-no-integrated-cpp` is the same, but for names of
/// temporary files and options that get into debug information.
fn in_two_steps(command: &str) -> String {
    let (before, command) = command.split_once("$D ").unwrap();
    let mut words: Vec<&str> = command.split(' ').collect();
    let mode = words.iter().position(|word| matches!(*word, "-c" | "-S")).unwrap();
    let mut removed = words.drain(mode..mode + 2);
    let (mode, source) = (removed.next().unwrap(), removed.next().unwrap());
    drop(removed);
    let (stem, extension) = source.trim_matches('"').rsplit_once('.').unwrap();
    let output = match words.iter().position(|word| *word == "-o") {
        Some(at) => words.drain(at..at + 2).nth(1).unwrap().to_owned(),
        None => format!("{}.{}", stem.rsplit('/').next().unwrap(), if mode == "-S" { 's' } else { 'o' }),
    };
    let compiler = words.join(" ");
    let text = match extension {
        "c" => "text.i",
        "cc" => "text.ii",
        "m" => "text.mi",
        "mm" => "text.mii",
        other => panic!("{other}: {command}"),
    };
    let preprocess = format!("{compiler} -E {source} -o {text}");
    format!(
        "{before} {preprocess} && {compiler} {mode} {text} -o {output}; status=$?; rm {text}; exit $status"
    )
}

fn shell(workspace: &Workspace, script: &str, distcc: &str) -> Command {
    let mut command = workspace.command("/bin/sh");
    command.env("D", distcc).args(["-c", script]);
    command
}

/// Runs a case both ways; the text is what is wrong.
fn differences(
    workspace: &Workspace,
    host: &str,
    case: &Case,
    sources: &BTreeMap<PathBuf, Vec<u8>>,
) -> String {
    let alone = match case.accepted {
        Some("text") => in_two_steps(&case.command),
        _ => case.command.clone(),
    };
    prepare(workspace, sources);
    let expected = Seen::of(shell(workspace, &alone, "").output().unwrap(), &workspace.work());

    prepare(workspace, sources);
    let log = workspace.path("client.log");
    let _ = fs::remove_file(&log);
    let mut command = shell(workspace, &case.command, workspace.path("bin/distcc").to_str().unwrap());
    command.env("DISTCC_HOSTS", host).env("DISTCC_LOG", &log).env("DISTCC_BACKOFF_PERIOD", "0");
    let seen = Seen::of(command.output().unwrap(), &workspace.work());
    let log = fs::read_to_string(&log).unwrap_or_default();

    let (expected, seen) = match case.accepted {
        None | Some("text") => (expected, seen),
        Some(accepted) => {
            if accepted == "snippets" && expected == seen {
                return "  nothing needs to be accepted any more\n".to_owned();
            }
            (expected.without(accepted), seen.without(accepted))
        }
    };
    let mut text = expected.differences(&seen);
    text += &explained_differently(workspace, &case.command, &log);
    let remote = log.contains("completed ok");
    if remote != case.remote {
        let place = if remote { "on a server" } else { "locally" };
        text += &format!("  it was done {place}:\n{log}");
    }
    text
}

/// What `--explain` says and is not what the client's log says it did.
fn explained_differently(workspace: &Workspace, command: &str, log: &str) -> String {
    let command = command.replace("$D ", "$D --explain ");
    let mut command = shell(workspace, &command, workspace.path("bin/distcc").to_str().unwrap());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
    let wrong = |what: &str| format!("  it is explained otherwise ({what}):\n{text}{log}");
    // A job that was to be distributed may have ended locally.
    let remote = log.contains("] compile from ");
    if !output.status.success() || !text.starts_with(if remote { "remote\n" } else { "local: " }) {
        return wrong("place");
    }
    let sent = log.lines().find_map(|line| line.split_once("] exec on ")?.1.split_once(": "));
    let sent = sent.map(|(_, words)| words).filter(|words| !words.contains('"'));
    if sent.is_some_and(|words| words != line("server gets: ")) {
        return wrong("words");
    }
    let written = line("writes: ").split(' ').filter(|name| !name.contains('\''));
    let mut missing = written.filter(|name| !name.is_empty() && !workspace.work().join(name).exists());
    match log.contains("completed ok").then(|| missing.next()).flatten() {
        Some(name) => wrong(name),
        None => String::new(),
    }
}

/// Which of the table's needs are met here.
fn is_there(workspace: &Workspace, needs: &str) -> bool {
    let works = |script: &str| workspace.command("/bin/sh").args(["-c", script]).status().unwrap().success();
    let there = match needs {
        "-" => true,
        "clang" => works("command -v clang >clang.there"),
        "objc" => {
            works("test -x $(gcc -print-prog-name=cc1obj) && test -x $(gcc -print-prog-name=cc1objplus)")
        }
        "m32" => works("echo 'int x;' >x.c && gcc -m32 -c x.c"),
        other => panic!("{other} is not known as a need"),
    };
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{needs} is missing: run tests/setup.sh test");
        eprintln!("SKIPPED: the option sets that need {needs}; run tests/setup.sh test");
    }
    there
}

/// Set to a part of a command to try only the sets that have it.
const ONLY: &str = "DISTCC_TEST_OPTIONS";

#[test]
fn a_job_leaves_what_the_compiler_alone_leaves() {
    let table = fs::read_to_string(Path::new(DATA).join("options.txt")).unwrap();
    let only = std::env::var(ONLY).unwrap_or_default();
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let cases: Vec<Case> = lines.filter(|line| line.contains(&only)).map(Case::parse).collect();
    assert!(cases.len() >= 150 || !only.is_empty(), "only {} cases", cases.len());

    let sources = sources();
    let workspace = Workspace::new("differential");
    let needs: BTreeMap<&str, bool> = cases
        .iter()
        .map(|case| case.needs)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .map(|needs| (needs, is_there(&workspace, needs)))
        .collect();
    let daemon =
        Daemon::ours(&workspace, &["--jobs", "8", "--allow-compiler", "c*", "--allow-compiler", "g*"]);
    let host = format!("{}/8", daemon.host());
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    // Jobs wait for the server as much as they compute.
    let at_once = std::thread::available_parallelism().map_or(2, usize::from) + 1;
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let workspace = Workspace::new("options");
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !needs[case.needs] {
                        continue;
                    }
                    let text = differences(&workspace, &host, case, &sources);
                    if !text.is_empty() {
                        wrong.lock().unwrap().push(format!("{}\n{text}", case.command));
                    }
                }
                workspace.assert_clean();
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
