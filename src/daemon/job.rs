//! One compile in its own directory: the source comes in, the compiler runs, the object and messages go out.
//!
//! This is the one place where a compiler is started. It gets a private directory (mode 0700) as working and
//! temporary directory, an environment of a few names, no descriptor but its three streams, no core file, and
//! a process group that can be killed as a whole.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::args::ServerJob;
use crate::compiler::{self, Start};
use crate::daemon::compilers::Program;
use crate::scratch::{self, PrivateDir};
use crate::sys::file::{self, Contents};
use crate::sys::process::{self, Pid};
use crate::sys::signal::Signal;
use crate::wire::lzo;
use crate::wire::{self, Token, Version, limits};

/// A job from its accepted command to its reply.
#[derive(Debug)]
pub struct Compile {
    command: ServerJob,
    program: Program,
    dir: PrivateDir,
    source: Source,
    output: Option<(File, File)>,
    child: Option<Pid>,
}

/// The source on its way in.
#[derive(Debug)]
enum Source {
    /// Plain bytes go to their file in batches; so many wait for the next one.
    ToFile(File, Vec<u8>),
    /// A compressed body is collected first.
    Compressed(Vec<u8>),
    /// In a file, where memory is short.
    CompressedToFile(File),
    /// It is in its file.
    Complete,
}

/// Plain bytes that are written at once: for a large write the kernel takes large pages, which costs it half.
const BATCH: usize = 256 * 1024;

/// What a compiler has left.
pub struct Results {
    /// What it wrote to standard error, with the client's name of the source in place of ours.
    pub stderr: Vec<u8>,
    /// What it wrote to standard output.
    pub stdout: Contents,
    /// The object, if it made one.
    pub object: Option<File>,
}

/// Names that compilers may see of the daemon's environment: how to find their parts and how to speak.
const ENVIRONMENT: [&str; 8] =
    ["HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LD_LIBRARY_PATH", "USER"];

impl Compile {
    /// Makes the job's directory and waits for the source.
    pub fn new(command: ServerJob, program: Program, version: Version) -> io::Result<Compile> {
        let dir = PrivateDir::new(&scratch::directory(), &prefix(Pid::current()))?;
        let source = match version {
            Version::Plain => Source::ToFile(File::create_new(source_path(&dir, &command))?, Vec::new()),
            Version::Lzo => Source::Compressed(Vec::new()),
        };
        Ok(Compile { command, program, dir, source, output: None, child: None })
    }

    /// Compiler and source as the client named them.
    pub fn names(&self) -> (&[u8], &[u8]) {
        (self.command.compiler(), self.command.input_name())
    }

    /// Bytes of the source that this job keeps in memory.
    pub fn held(&self) -> usize {
        match &self.source {
            Source::ToFile(_, waiting) => waiting.len(),
            Source::Compressed(collected) => collected.len(),
            Source::CompressedToFile(_) | Source::Complete => 0,
        }
    }

    /// Takes bytes of the source as they come from the wire; into memory only if there is `room`.
    pub fn take_source(&mut self, bytes: &[u8], room: bool) -> io::Result<()> {
        if let (Source::Compressed(collected), false) = (&self.source, room) {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(self.dir.path().join("compressed"))?;
            file.write_all(collected)?;
            self.source = Source::CompressedToFile(file);
        }
        match &mut self.source {
            Source::ToFile(file, waiting) => {
                waiting.extend_from_slice(bytes);
                if waiting.len() < BATCH && room {
                    return Ok(());
                }
                let written = file.write_all(waiting);
                waiting.clear();
                written
            }
            Source::CompressedToFile(file) => file.write_all(bytes),
            Source::Compressed(collected) => {
                collected.extend_from_slice(bytes);
                Ok(())
            }
            Source::Complete => Ok(()),
        }
    }

    /// The source is complete: writes what is left of it, expanded if it came compressed. `buffer` is the worker's, and its contents
    /// do not matter.
    pub fn finish_source(&mut self, buffer: &mut Vec<u8>) -> io::Result<Result<(), wire::Error>> {
        let collected = match std::mem::replace(&mut self.source, Source::Complete) {
            Source::ToFile(mut file, waiting) => {
                file.write_all(&waiting)?;
                return Ok(Ok(()));
            }
            Source::Compressed(collected) => collected,
            Source::CompressedToFile(mut file) => {
                let mut collected = Vec::new();
                file.rewind()?;
                file.read_to_end(&mut collected)?;
                collected
            }
            Source::Complete => return Ok(Ok(())),
        };
        let mut file = File::create_new(source_path(&self.dir, &self.command))?;
        let mut written = Ok(());
        let expanded = lzo::decompress_in_pieces(&collected, buffer, limits::BODY as usize, &mut |piece| {
            if written.is_ok() {
                written = file.write_all(piece);
            }
        });
        if let Err(error) = expanded {
            return Ok(Err(wire::Error::Lzo { token: Token::Doti, error }));
        }
        written?;
        Ok(Ok(()))
    }

    /// Starts the compiler with this PATH.
    pub fn start(&mut self, path: &OsStr) -> io::Result<Pid> {
        let stdout = scratch::anonymous_file(c"distccd-stdout")?;
        let stderr = scratch::anonymous_file(c"distccd-stderr")?;
        let null = File::open("/dev/null")?;
        let dir = self.dir.path();
        let words = self
            .command
            .command(source_path(&self.dir, &self.command).as_os_str(), object_path(dir).as_os_str());
        let name = &self.program.name;
        let argv: Vec<OsString> = std::iter::once(name.clone())
            .chain(stable_directory(name.as_bytes(), dir))
            .chain(words)
            .collect();
        let start = Start {
            stdio: [Some(null.as_fd()), Some(stdout.as_fd()), Some(stderr.as_fd())],
            cwd: Some(dir),
            new_group: true,
            bound_to_us: true,
            max_file_len: Some(limits::BODY.into()),
        };
        let pid = compiler::spawn(&self.program.path, &argv, &environment(path, dir), &start)?;
        self.child = Some(pid);
        self.output = Some((stdout, stderr));
        Ok(pid)
    }

    /// The compiler, while it runs.
    pub fn child(&self) -> Option<Pid> {
        self.child
    }

    /// The compiler has been waited for.
    pub fn child_ended(&mut self) {
        self.child = None;
    }

    /// Collects what the compiler left.
    pub fn results(&mut self) -> io::Result<Results> {
        let Some((mut stdout, mut stderr)) = self.output.take() else {
            return Err(io::Error::other("the compiler was never started"));
        };
        let ours = source_path(&self.dir, &self.command);
        let stderr = Contents::of(&mut stderr)?;
        Ok(Results {
            stderr: replace(&stderr, ours.as_os_str().as_bytes(), self.command.input_name()),
            stdout: Contents::of(&mut stdout)?,
            object: open_object(&object_path(self.dir.path()))?,
        })
    }
}

impl Drop for Compile {
    fn drop(&mut self) {
        if let Some(pid) = self.child {
            kill(pid);
            while process::wait(pid).is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {}
        }
        // What is known by name goes without a look at what else there may be, which is mostly nothing.
        let _ = fs::remove_file(source_path(&self.dir, &self.command));
        let _ = fs::remove_file(object_path(self.dir.path()));
    }
}

/// Ends a compiler with everything it started.
pub fn kill(pid: Pid) {
    if let Err(e) = pid.kill_group(Signal::KILL) {
        log::debug!("cannot end the process group {}: {e}", pid.number());
    }
}

/// What the names of a worker's job directories begin with.
fn prefix(worker: Pid) -> String {
    format!("distccd_{}_", worker.number())
}

/// Removes what the jobs of a worker that has died have left.
pub fn sweep(worker: Pid) {
    scratch::sweep(&scratch::directory(), |name| name.starts_with(&prefix(worker)));
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

fn source_path(dir: &PrivateDir, command: &ServerJob) -> PathBuf {
    dir.path().join("source").with_extension(command.preprocessed_extension())
}

fn object_path(dir: &Path) -> PathBuf {
    dir.join("object")
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
    let inherited = ENVIRONMENT.iter().filter_map(|name| Some(entry(name, &std::env::var_os(name)?)));
    [entry("PATH", path), entry("TMPDIR", dir.as_os_str()), entry("_DISTCC_SAFEGUARD", OsStr::new("1"))]
        .into_iter()
        .chain(inherited)
        .collect()
}

/// `text` with every `from` replaced by `to`.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
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
