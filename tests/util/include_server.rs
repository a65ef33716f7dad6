//! A stand-in include server: answers as stock's does, with the compiler itself (`CC -M`) for an oracle. Stock's own
//! does not run with any Python of this decade.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use distcc::wire::include::{Question, QuestionDecoder, encode_answer};
use distcc::wire::lzo;

/// Listens until the test's process ends; its mirror goes with it.
pub struct IncludeServer {
    pub socket: PathBuf,
    mirror: PathBuf,
    questions: Arc<Mutex<Vec<Question>>>,
}

/// How the server deviates from the right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Right,
    /// Headers that are reached by an absolute directory begin with a `#line`, as stock's.
    LineDirectives,
    /// Not covered.
    Empty,
    /// Closes in the middle of its answer.
    Short,
    /// Only the source, without its headers.
    WithoutHeaders,
    /// Says nothing that is the protocol.
    Nonsense,
}

impl IncludeServer {
    /// With its socket in this directory.
    pub fn new(directory: &Path, mood: Mood) -> IncludeServer {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(directory).unwrap();
        let socket = directory.join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        // Three directories deep, wherever the test runs.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mirror =
            PathBuf::from(format!("/tmp/distcc-test-mirror-{}-{number}/padding", std::process::id()));
        fs::create_dir_all(&mirror).unwrap();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let (root, asked) = (mirror.clone(), Arc::clone(&questions));
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(&root, mood, &mut stream.unwrap(), &asked);
            }
        });
        IncludeServer { socket, mirror, questions }
    }

    /// What it was asked.
    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

impl Drop for IncludeServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.mirror.parent().unwrap());
    }
}

fn answer(mirror: &Path, mood: Mood, stream: &mut UnixStream, asked: &Mutex<Vec<Question>>) {
    let mut decoder = QuestionDecoder::new();
    let mut buffer = [0; 4096];
    let question = loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            return;
        }
        if let Some(question) = decoder.take(&mut &buffer[..count]).unwrap() {
            break question;
        }
    };
    asked.lock().unwrap().push(question.clone());
    let mut bytes = Vec::new();
    match mood {
        Mood::Empty => encode_answer::<Vec<u8>>(&[], &mut bytes),
        Mood::Nonsense => bytes.extend_from_slice(b"HTTP/1.0 200 OK\r\n\r\n"),
        _ => {
            let paths = Mirror::new(mirror, &question, mood).paths();
            encode_answer(&paths, &mut bytes);
        }
    }
    if mood == Mood::Short {
        bytes.truncate(bytes.len() / 2);
    }
    let _ = stream.write_all(&bytes);
}

/// The closure of one command, below the root of a mirror.
struct Mirror<'a> {
    root: &'a Path,
    mood: Mood,
    /// Compressed files; a new one replaces one that was there.
    files: BTreeSet<PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
    directories: BTreeSet<PathBuf>,
    system: Vec<PathBuf>,
}

impl Mirror<'_> {
    fn new<'a>(root: &'a Path, question: &Question, mood: Mood) -> Mirror<'a> {
        let argv: Vec<String> =
            question.argv.iter().map(|word| String::from_utf8(word.clone()).unwrap()).collect();
        let directory = PathBuf::from(String::from_utf8(question.directory.clone()).unwrap());
        let mut mirror = Mirror {
            root,
            mood,
            files: BTreeSet::new(),
            links: BTreeMap::new(),
            directories: BTreeSet::new(),
            system: system_directories(&argv),
        };
        mirror.directories.insert(directory.clone());
        let source = argv.iter().skip(1).find(|word| is_source(word)).unwrap();
        let mut dependencies = dependencies(&argv, &directory);
        if mood == Mood::WithoutHeaders {
            dependencies = vec![source.clone()];
        }
        for name in &dependencies {
            mirror.add(&directory, name, name != source);
        }
        for dir in included_directories(&argv) {
            mirror.walk(&directory.join(dir));
        }
        mirror
    }

    fn add(&mut self, directory: &Path, name: &str, is_header: bool) {
        let Some(real) = self.walk(&directory.join(name)) else { return };
        let mut contents = fs::read(&real).unwrap();
        let mut target = self.below(&real).into_os_string();
        target.push(".lzo");
        if self.mood == Mood::LineDirectives && is_header && name.starts_with('/') {
            target.push(".abs");
            contents.splice(..0, format!("#line 1 \"{name}\"\n").into_bytes());
        }
        let mut body = Vec::new();
        lzo::Encoder::new().compress(&contents, &mut body);
        if contents.is_empty() {
            body.clear();
        }
        let target = PathBuf::from(target);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, body).unwrap();
        self.files.insert(target);
    }

    /// Goes along a path as the kernel does and notes links and directories; the real path, unless it is a system's.
    fn walk(&mut self, path: &Path) -> Option<PathBuf> {
        let mut at = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    let next = at.join(name);
                    if self.system.iter().any(|dir| next.starts_with(dir)) {
                        return None;
                    }
                    let Ok(metadata) = fs::symlink_metadata(&next) else { return None };
                    at = if metadata.is_symlink() {
                        let real = next.canonicalize().unwrap();
                        self.links.insert(next, real.clone());
                        real
                    } else {
                        next
                    };
                    if at.is_dir() {
                        self.directories.insert(at.clone());
                    }
                }
                Component::ParentDir => {
                    at.pop();
                }
                _ => {}
            }
        }
        let is_system = self.system.iter().any(|dir| at.starts_with(dir));
        (!is_system).then_some(at)
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap())
    }

    fn paths(self) -> Vec<Vec<u8>> {
        let mut paths: Vec<PathBuf> = self.files.iter().cloned().collect();
        let mut make_link = |at: &Path, text: &Path| {
            let at = self.below(at);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&at);
            symlink(text, &at).unwrap();
            paths.push(at);
        };
        for dir in &self.system {
            let ups = "../".repeat(20 + dir.components().count() - 1);
            make_link(dir, &Path::new(&ups).join(dir.strip_prefix("/").unwrap()));
        }
        for (link, real) in &self.links {
            make_link(link, real);
        }
        for directory in &self.directories {
            let placeholder = self.below(directory).join("forcing_technique_271828");
            fs::create_dir_all(placeholder.parent().unwrap()).unwrap();
            fs::write(&placeholder, "").unwrap();
            paths.push(placeholder);
        }
        paths.into_iter().map(|path| path.into_os_string().into_encoded_bytes()).collect()
    }
}

fn is_source(word: &str) -> bool {
    [".c", ".cc", ".cpp", ".m"].iter().any(|extension| word.ends_with(extension)) && !word.starts_with('-')
}

/// What the compiler says it reads.
fn dependencies(argv: &[String], directory: &Path) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = argv[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-o" | "-MF" | "-MT" | "-MQ" => drop(rest.next()),
            "-c" | "-S" | "-MD" | "-MMD" | "-MP" => {}
            word if word.starts_with("-M") || word.starts_with("-o") => {}
            word => words.push(word),
        }
    }
    let output = Command::new(&argv[0]).args(words).arg("-M").current_dir(directory).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.split_once(": ").map_or("", |(_, names)| names).replace("\\\n", " ");
    names.split_whitespace().map(str::to_owned).collect()
}

/// The compiler's own search path, without what lies below another of its directories.
fn system_directories(argv: &[String]) -> Vec<PathBuf> {
    let language = if argv[0].contains("++") { "c++" } else { "c" };
    let output =
        Command::new(&argv[0]).args(["-x", language, "-v", "-c", "/dev/null", "-o", "/dev/null"]).output();
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    let list = text.split("search starts here:\n").last().unwrap();
    let list = list.split("End of search list").next().unwrap();
    let all: BTreeSet<PathBuf> =
        list.lines().filter_map(|line| Path::new(line.trim()).canonicalize().ok()).collect();
    all.iter()
        .filter(|dir| !all.iter().any(|other| other != *dir && dir.starts_with(other)))
        .cloned()
        .collect()
}

/// Directories of `-I` and its kin, which have to be there for `..` behind them.
fn included_directories(argv: &[String]) -> Vec<String> {
    argv.iter()
        .filter_map(|word| word.strip_prefix("-I"))
        .filter(|dir| !dir.is_empty())
        .map(str::to_owned)
        .collect()
}
