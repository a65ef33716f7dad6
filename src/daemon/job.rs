//! One compile in its own directory: the source comes in, the compiler runs, the object and messages go out.
//! The source is one preprocessed text, or the client's files in a [`Tree`].
//!
//! This is the one place where a compiler is started. It gets a private directory (mode 0700) as working and
//! temporary directory, an environment of a few names, no descriptor but its three streams, no core file, and
//! a process group that can be killed as a whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::args::{Root, ServerJob};
use crate::compiler::{self, Start};
use crate::daemon::buffers::Buffers;
use crate::daemon::compilers::Program;
use crate::daemon::depfile;
use crate::daemon::tree::{Tree, Trouble};
use crate::daemon::workplace::{self, Workplace, Workplaces};
use crate::scratch;
use crate::sys::file::{self, Contents};
use crate::sys::process::{self, Pid, WaitStatus};
use crate::sys::signal::Signal;
use crate::sys::splice::Splicer;
use crate::wire::lzo;
use crate::wire::path::Rooted;
use crate::wire::request::Event;
use crate::wire::{self, Token, Version, limits};

/// A job from its accepted command to its reply.
#[derive(Debug)]
pub struct Compile {
    command: ServerJob,
    program: Program,
    source: Source,
    /// How much memory the source may take, in bytes: what the worker has set aside for it.
    pub memory: usize,
    /// Where it works, once it needs that.
    workplace: Option<Workplace>,
    output: Option<(File, File)>,
    child: Option<Running>,
    /// The compiler's address space, in bytes, if it is limited.
    max_memory: Option<u64>,
    /// The compiler may have left something that still writes.
    unfinished: bool,
}

/// The source on its way in.
#[derive(Debug)]
enum Source {
    /// A plain one, as long as it is [`SMALL`].
    Small(Vec<u8>),
    /// A larger one, where the compiler finds it.
    Placed,
    /// A compressed one is collected first.
    Compressed(Vec<u8>),
    /// On the disk, where memory is short.
    CompressedOnDisk(File),
    /// The client's files, which the compiler preprocesses itself.
    Tree(Box<Tree>),
}

/// Up to so many bytes, a source gets its memory as it comes, and a plain one needs no workplace before it has a slot.
pub const SMALL: usize = 64 * 1024;

/// A compiler that is killed and waited for when it is dropped.
#[derive(Debug)]
struct Running(Pid);

impl Drop for Running {
    fn drop(&mut self) {
        kill(self.0);
        while process::wait(self.0).is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {}
    }
}

/// What a compiler has left.
pub struct Results {
    /// What it wrote to standard error, with the client's names in place of ours.
    pub stderr: Vec<u8>,
    /// What it wrote to standard output.
    pub stdout: Contents,
    /// The object, if it made one.
    pub object: Option<File>,
    /// The dependency file, with the client's names, if it made one.
    pub dependencies: Option<Vec<u8>>,
}

/// Names that compilers may see of the daemon's environment: how to find their parts and how to speak.
const ENVIRONMENT: [&str; 8] =
    ["HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH", "USER"];

impl Compile {
    /// A job whose source is still to come.
    pub fn new(command: ServerJob, program: Program, version: Version) -> Compile {
        let collected = Vec::new();
        let source =
            if version.compressed() { Source::Compressed(collected) } else { Source::Small(collected) };
        Compile::of(command, program, source)
    }

    /// A job whose files are still to come, into a root where it is to run in `cwd`.
    pub fn in_root(command: ServerJob, program: Program, cwd: &Rooted) -> io::Result<Compile> {
        Ok(Compile::of(command, program, Source::Tree(Box::new(Tree::new(cwd)?))))
    }

    fn of(command: ServerJob, program: Program, source: Source) -> Compile {
        Compile {
            command,
            program,
            source,
            memory: 0,
            workplace: None,
            output: None,
            child: None,
            max_memory: None,
            unfinished: false,
        }
    }

    /// Compiler and source as the client named them.
    pub fn names(&self) -> (&[u8], &[u8]) {
        (self.command.compiler(), self.command.input_name())
    }

    /// Takes a piece of the source as it comes from the wire.
    pub fn take(
        &mut self,
        piece: Event,
        buffers: &mut Buffers,
        places: &mut Workplaces,
    ) -> Result<(), Trouble> {
        let tree = match &mut self.source {
            Source::Tree(tree) => tree,
            _ => {
                let Event::Source(bytes) = piece else { return Ok(()) };
                return Ok(self.take_source(bytes, buffers, places)?);
            }
        };
        match piece {
            Event::FileStart(name, len) => Ok(tree.file(name, len)?),
            Event::File(bytes) => {
                let room = tree.held() + bytes.len() <= self.memory;
                buffers.with_window(|window| tree.bytes(bytes, room, window))
            }
            Event::FileEnd => buffers.with_window(|window| tree.end(window)),
            Event::Link(name, target) => Ok(tree.link(&name, &target)?),
            _ => Ok(()),
        }
    }

    /// Memory that is set aside and not needed any more.
    pub fn give_back_memory(&mut self) -> usize {
        match &self.source {
            Source::Tree(tree) => {
                let held = tree.held().min(self.memory);
                std::mem::replace(&mut self.memory, held) - held
            }
            _ => 0,
        }
    }

    fn take_source(
        &mut self,
        bytes: &[u8],
        buffers: &mut Buffers,
        places: &mut Workplaces,
    ) -> io::Result<()> {
        let most = self.memory;
        match &mut self.source {
            Source::Small(collected) if collected.len() + bytes.len() <= SMALL.min(most) => {
                collected.extend_from_slice(bytes);
                Ok(())
            }
            Source::Small(_) | Source::Placed => self.placed(places)?.write(bytes, most),
            Source::Compressed(collected) if collected.len() + bytes.len() <= most => {
                buffers.enlarge(collected, collected.len() + bytes.len());
                collected.extend_from_slice(bytes);
                Ok(())
            }
            Source::Compressed(collected) => {
                let collected = std::mem::take(collected);
                let mut file = self.workplace(places)?.unnamed_file()?;
                file.write_all(&collected)?;
                file.write_all(bytes)?;
                self.source = Source::CompressedOnDisk(file);
                Ok(())
            }
            Source::CompressedOnDisk(file) => file.write_all(bytes),
            Source::Tree(_) => Ok(()),
        }
    }

    /// Reads of the `left` bytes that are still to come of a compressed source what is there, to where it is collected, if
    /// memory is set aside for it. (Otherwise its pieces come to [`take`](Self::take).)
    pub fn read_source(
        &mut self,
        from: BorrowedFd,
        left: usize,
        buffers: &mut Buffers,
    ) -> Option<io::Result<usize>> {
        match &mut self.source {
            Source::Compressed(collected) if collected.len() + left <= self.memory => {
                buffers.enlarge(collected, collected.len() + left);
                let has_room = collected.capacity() - collected.len() >= left;
                has_room.then(|| file::read_to_end_of(collected, from, left))
            }
            _ => None,
        }
    }

    /// The same for a plain source with the `count` bytes that `splicer` has taken.
    pub fn take_spliced(
        &mut self,
        splicer: &mut Splicer,
        count: usize,
        places: &mut Workplaces,
    ) -> io::Result<()> {
        let most = self.memory;
        self.placed(places)?.write_spliced(splicer, count, most)
    }

    /// The source is complete: puts it where the compiler finds it, expanded if it came compressed. Afterwards no
    /// more memory is set aside than is needed.
    pub fn finish_source(&mut self, buffers: &mut Buffers, places: &mut Workplaces) -> Result<(), Trouble> {
        if let Source::Tree(tree) = &mut self.source {
            buffers.with_window(|window| tree.finish(window))?;
            self.workplace(places)?;
            self.memory = 0;
            return Ok(());
        }
        let most = self.memory;
        let expanded = match std::mem::replace(&mut self.source, Source::Placed) {
            plain @ (Source::Small(_) | Source::Placed | Source::Tree(_)) => {
                self.source = plain;
                self.placed(places)?;
                Ok(())
            }
            Source::Compressed(collected) => {
                let workplace = self.workplace(places)?;
                let expanded = buffers.with_window(|window| expand(&collected, window, workplace, most))?;
                buffers.give_back(collected);
                expanded
            }
            Source::CompressedOnDisk(mut file) => {
                let mut collected = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut collected)?;
                let workplace = self.workplace(places)?;
                buffers.with_window(|window| expand(&collected, window, workplace, most))?
            }
        };
        if let Err(error) = expanded {
            return Err(Trouble::Wire(wire::Error::Lzo { token: Token::Doti, error }));
        }
        let workplace = self.workplace(places)?;
        workplace.finish()?;
        self.memory = workplace.held();
        Ok(())
    }

    /// The workplace with everything in it that has come of a plain source.
    fn placed(&mut self, places: &mut Workplaces) -> io::Result<&mut Workplace> {
        let most = self.memory;
        let collected = match std::mem::replace(&mut self.source, Source::Placed) {
            Source::Small(collected) => collected,
            _ => Vec::new(),
        };
        let workplace = self.workplace(places)?;
        workplace.write(&collected, most)?;
        Ok(workplace)
    }

    fn workplace(&mut self, places: &mut Workplaces) -> io::Result<&mut Workplace> {
        let workplace = match self.workplace.take() {
            Some(workplace) => workplace,
            None => places.take(self.command.preprocessed_extension())?,
        };
        Ok(self.workplace.insert(workplace))
    }

    /// Starts the compiler with this PATH and at most so many bytes of address space.
    pub fn start(&mut self, path: &OsStr, max_memory: Option<u64>) -> io::Result<Pid> {
        let Some(workplace) = &mut self.workplace else {
            return Err(io::Error::other("the source is not complete"));
        };
        let (stdout, stderr) = workplace.take_outputs()?;
        let null;
        let stdin = match workplace.standard_input() {
            Some(source) => source,
            None => {
                null = file::null()?;
                null.as_fd()
            }
        };
        let dir = workplace.path();
        let name = &self.program.name;
        let mut argv = vec![name.clone()];
        let cwd = match &self.source {
            Source::Tree(tree) => {
                argv.extend(words_in(tree, &self.command, workplace));
                tree.cwd()
            }
            _ => {
                argv.extend(stable_directory(name.as_bytes(), dir));
                let (source, object) = (workplace.source_path(), workplace.object_path());
                argv.extend(self.command.command(source.as_os_str(), object.as_os_str()));
                dir
            }
        };
        let start = Start {
            stdio: [Some(stdin), Some(stdout.as_fd()), Some(stderr.as_fd())],
            cwd: Some(cwd),
            new_group: true,
            bound_to_us: true,
            leash: workplace.leash(),
            max_file_len: Some(limits::BODY.into()),
            max_memory,
        };
        let pid = compiler::spawn(&self.program.path, &argv, &environment(path, dir), &start)?;
        self.child = Some(Running(pid));
        self.max_memory = max_memory;
        self.output = Some((stdout, stderr));
        Ok(pid)
    }

    /// The compiler, while it runs.
    pub fn child(&self) -> Option<Pid> {
        self.child.as_ref().map(|running| running.0)
    }

    /// The compiler has been waited for.
    pub fn child_ended(&mut self, status: WaitStatus) {
        // It is no more, so there is nothing to kill.
        std::mem::forget(self.child.take());
        self.unfinished = status.signal().is_some();
    }

    /// The workplace, if another job can use it.
    pub fn into_workplace(self) -> Option<Workplace> {
        self.workplace.filter(|_| self.child.is_none() && !self.unfinished)
    }

    /// A file on the disk, without a name, for what memory has no room for.
    pub fn unnamed_file(&self) -> io::Result<File> {
        match &self.workplace {
            Some(workplace) => workplace.unnamed_file(),
            None => Err(io::Error::other("the job has no directory")),
        }
    }

    /// Collects what the compiler left.
    pub fn results(&mut self) -> io::Result<Results> {
        let (Some((mut stdout, mut stderr)), Some(workplace)) = (self.output.take(), &mut self.workplace)
        else {
            return Err(io::Error::other("the compiler was never started"));
        };
        let messages = Contents::of(&mut stderr)?;
        let (mut shown, dependencies) = match &self.source {
            Source::Tree(tree) => {
                let root = tree.path().as_os_str().as_bytes();
                let dependencies = take_dependencies(workplace)?.map(|text| depfile::clean(&text, root));
                (replace(&messages, root, b""), dependencies)
            }
            _ => {
                let ours = workplace.source_path();
                (replace(&messages, ours.as_os_str().as_bytes(), self.command.input_name()), None)
            }
        };
        if let Some(limit) = self.max_memory.filter(|_| self.unfinished || speaks_of_memory(&messages)) {
            let note = format!("distccd: compilers have {} MB of memory here (--job-memory)\n", limit >> 20);
            shown.extend_from_slice(note.as_bytes());
        }
        let results = Results {
            stderr: shown,
            stdout: Contents::of(&mut stdout)?,
            object: open_object(&workplace.object_path())?,
            dependencies,
        };
        if messages.is_empty() && results.stdout.is_empty() {
            workplace.return_outputs(stdout, stderr);
        }
        Ok(results)
    }

    /// Whether the client wants a dependency file, which only the compiler of a [`Tree`] can write.
    pub fn wants_dependencies(&self) -> bool {
        matches!(self.source, Source::Tree(_)) && self.command.wants_dependencies()
    }
}

fn words_in(tree: &Tree, command: &ServerJob, workplace: &Workplace) -> Vec<OsString> {
    let (output, dependencies) = (workplace.object_path(), workplace.dependencies_path());
    let root = Root {
        path: tree.path().as_os_str(),
        output: output.as_os_str(),
        dependencies: dependencies.as_os_str(),
    };
    command.command_in(&root, |path| Path::new(path).is_dir())
}

/// Reads the dependency file and removes it.
fn take_dependencies(workplace: &Workplace) -> io::Result<Option<Vec<u8>>> {
    let path = workplace.dependencies_path();
    let Some(mut file) = open_object(&path)? else { return Ok(None) };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    fs::remove_file(path)?;
    Ok(Some(text))
}

/// Writes a source to its workplace, at most `most` bytes of it into memory.
fn expand(
    compressed: &[u8],
    buffer: &mut Vec<u8>,
    workplace: &mut Workplace,
    most: usize,
) -> io::Result<Result<(), lzo::Error>> {
    let mut written = Ok(());
    let expanded = lzo::decompress_in_pieces(compressed, buffer, limits::BODY as usize, &mut |piece| {
        if written.is_ok() {
            written = workplace.write(piece, most);
        }
    });
    written.map(|()| expanded.map(drop))
}

/// Whether a compiler, or the dynamic linker in its place, says that it needs more memory.
fn speaks_of_memory(messages: &[u8]) -> bool {
    let phrases =
        ["out of memory", "memory exhausted", "annot allocate memory", "bad_alloc", "failed to map segment"];
    phrases.iter().any(|phrase| file::contains(messages, phrase.as_bytes()))
}

/// Ends a compiler with everything it started.
pub fn kill(pid: Pid) {
    if let Err(e) = pid.kill_group(Signal::KILL) {
        log::debug!("cannot end the process group {}: {e}", pid.number());
    }
}

/// Removes what the jobs of a worker that has died have left.
pub fn sweep(worker: Pid) {
    scratch::sweep(&scratch::directory(), |name| name.starts_with(&workplace::prefix(worker)));
}

/// Removes the jobs' directories that an earlier daemon of this user has left.
pub fn sweep_left_overs() {
    scratch::sweep(&scratch::directory(), |name| {
        let worker = name.strip_prefix("distccd_").and_then(|rest| rest.split_once('_')?.0.parse().ok());
        worker.is_some_and(|worker| !process::exists(worker))
    });
}

/// clang writes the directory it works in into debug information, which would be another one for every job;
/// shows its parent instead, as a stock server does. In front of the client's words, so that a directory that
/// the client names wins. (gcc takes the directory from the preprocessed text.)
fn stable_directory(compiler: &[u8], dir: &Path) -> Option<OsString> {
    let is_clang = file::contains(compiler, b"clang");
    let parent = dir.parent().filter(|_| is_clang)?;
    Some(
        [OsStr::new("-fdebug-prefix-map="), dir.as_os_str(), OsStr::new("="), parent.as_os_str()]
            .into_iter()
            .collect(),
    )
}

/// Only a plain file counts: the compiler's directory is not a place to be led away from.
fn open_object(path: &Path) -> io::Result<Option<File>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path).map(Some),
        Ok(_) => Err(io::Error::other("the compiler made something that is not a file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn environment(path: &OsStr, dir: &Path) -> Vec<OsString> {
    let entry = |name: &str, value: &OsStr| [OsStr::new(name), value].join(OsStr::new("="));
    let mut entries = vec![
        entry("PATH", path),
        entry("TMPDIR", dir.as_os_str()),
        entry("_DISTCC_SAFEGUARD", OsStr::new("1")),
    ];
    for name in ENVIRONMENT {
        entries.extend(std::env::var_os(name).map(|value| entry(name, &value)));
    }
    entries
}

/// `text` with every `from` replaced by `to`.
pub fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    if !file::contains(text, from) {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_do_not_show() {
        assert_eq!(replace(b"/t/source.i:1: x /t/source.i", b"/t/source.i", b"a.c"), b"a.c:1: x a.c");
        assert_eq!(replace(b"", b"/t/source.i", b"a.c"), b"");
    }
}
