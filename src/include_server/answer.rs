//! Question in, answer out: what the engine says, as the files and links of a job.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::bodies::{Bodies, Place};
use crate::args::printable;
use crate::closure::PLACEHOLDER;
use crate::compiler;
use crate::include::{self, Closure, Engine, Unit};
use crate::wire::bodies::Inquiry;
use crate::wire::include::Question;
use crate::wire::limits;

/// How often files may change under a question before it is given up.
const MOST_PASSES: usize = 4;

/// What a server needs, under its real name on this machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Needed {
    /// Absolute, through no link.
    pub path: PathBuf,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A file's compressed bytes.
    File {
        /// Where they are.
        place: Place,
        /// They begin with a `#line`.
        has_line: bool,
    },
    /// Nothing but a reason for its directory.
    Placeholder,
    /// A link of the tree to this real path.
    Link(PathBuf),
    /// A directory of the compiler's own headers, which a server has itself.
    System,
}

/// The compile of a client that tells its compiler.
pub fn unit_of_inquiry(inquiry: Inquiry) -> Unit {
    let mut context = inquiry.context.into_iter();
    let program = PathBuf::from(OsString::from_vec(context.next().unwrap_or_default()));
    let environment = context.filter_map(|entry| {
        let equals = entry.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        Some((text(&entry[..equals]), text(&entry[equals + 1..])))
    });
    let environment = environment.collect();
    Unit {
        cwd: OsString::from_vec(inquiry.question.directory).into(),
        program,
        argv: inquiry.question.argv.into_iter().map(OsString::from_vec).collect(),
        environment,
    }
}

/// The compile of a client that knows no more than its words: the compiler is searched for in our own PATH.
pub fn unit_of_question(question: Question) -> Result<Unit, String> {
    let cwd = PathBuf::from(OsString::from_vec(question.directory));
    let argv: Vec<OsString> = question.argv.into_iter().map(OsString::from_vec).collect();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let program = compiler::find(&argv[0], &path)
        .ok_or_else(|| format!("its compiler {} is not in PATH", printable(&argv[0])))?;
    Ok(Unit { program: cwd.join(program), cwd, argv, environment: include::environment() })
}

/// Everything that a server needs for `unit`, as it is now. With `lines`, files that the compiler knows by absolute names
/// begin with a `#line`, as stock servers need it.
///
/// # Errors
/// Why the unit has to be preprocessed by the client.
pub fn needed(
    engine: &mut Engine,
    bodies: &mut Bodies,
    unit: &Unit,
    lines: bool,
) -> Result<Vec<Needed>, String> {
    if !unit.cwd.is_absolute() || unit.argv.is_empty() {
        return Err("it has no working directory or no command".to_owned());
    }
    for _ in 0..MOST_PASSES {
        let closure = engine.closure(unit).map_err(|reason| reason.to_string())?;
        let mut gathered = Gathered { bodies, lines, needed: Vec::new(), is_settled: true };
        gathered.closure(closure)?;
        if gathered.needed.len() > limits::FILES as usize {
            return Err("it reads more files than a job can carry".to_owned());
        }
        // A file that was read just now may have become another one since it was analysed: then the engine says so.
        if gathered.is_settled {
            return Ok(gathered.needed);
        }
    }
    Err("its files keep changing".to_owned())
}

struct Gathered<'a> {
    bodies: &'a mut Bodies,
    lines: bool,
    needed: Vec<Needed>,
    is_settled: bool,
}

impl Gathered<'_> {
    fn closure(&mut self, closure: &Closure) -> Result<(), String> {
        let systems = system_directories(&closure.defaults);
        let is_system = |path: &Path| systems.iter().any(|system| path.starts_with(system));
        let mut taken = HashSet::new();
        for file in closure.files.iter().filter(|file| !file.system && !is_system(&file.real)) {
            if taken.insert(file.real.as_path()) {
                let cannot = |e: io::Error| format!("cannot read {}: {e}", printable(file.real.as_os_str()));
                self.file(file).map_err(cannot)??;
            }
        }
        for link in closure.links.iter().filter(|link| !is_system(&link.path)) {
            // One that leads nowhere is nothing that the compiler reads.
            if let Ok(target) = fs::canonicalize(&link.path) {
                let content = Content::Link(target);
                self.needed.push(Needed { path: link.path.clone(), content });
            }
        }
        let mut directories: Vec<&Path> =
            closure.directories.iter().map(PathBuf::as_path).filter(|path| !is_system(path)).collect();
        // Deepest first: those above need no placeholder of their own.
        directories.sort_unstable_by_key(|path| (std::cmp::Reverse(path.components().count()), *path));
        let mut made: HashSet<PathBuf> = HashSet::new();
        for path in self.needed.iter().map(|needed| &needed.path) {
            add_parents(path, &mut made);
        }
        for directory in directories {
            if made.insert(directory.to_owned()) {
                add_parents(directory, &mut made);
                let path = directory.join(OsStr::from_bytes(PLACEHOLDER));
                self.needed.push(Needed { path, content: Content::Placeholder });
            }
        }
        for path in systems {
            self.needed.push(Needed { path, content: Content::System });
        }
        Ok(())
    }

    fn file(&mut self, file: &include::File) -> io::Result<Result<(), String>> {
        let has_line = self.lines && file.name.is_absolute();
        let line = if has_line { line_of(&file.name) } else { Vec::new() };
        let found = self.bodies.find(&file.real, &line)?;
        if found.reads_files {
            let name = printable(file.name.as_os_str());
            return Ok(Err(format!("{name} may read files in asm statements (.incbin or .include)")));
        }
        self.is_settled &= !found.is_new;
        let content = Content::File { place: found.place, has_line };
        self.needed.push(Needed { path: file.real.clone(), content });
        Ok(Ok(()))
    }
}

/// Notes the directories that come into being with `path`.
fn add_parents(path: &Path, made: &mut HashSet<PathBuf>) {
    for parent in path.ancestors().skip(1) {
        if !made.insert(parent.to_owned()) {
            break;
        }
    }
}

/// What makes a compiler believe that the file has this name.
fn line_of(name: &Path) -> Vec<u8> {
    let mut line = b"#line 1 \"".to_vec();
    for byte in name.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.extend_from_slice(b"\"\n");
    line
}

/// The real directories of the compiler's own headers, none below another. One without a name like `include` is not such a
/// directory for servers.
fn system_directories(defaults: &[PathBuf]) -> Vec<PathBuf> {
    let is_include = |path: &PathBuf| path.iter().any(|name| name.as_bytes().starts_with(b"include"));
    let mut all = Vec::new();
    for path in defaults {
        all.extend(fs::canonicalize(path).ok().filter(is_include));
    }
    let mut systems: Vec<PathBuf> = Vec::new();
    for path in &all {
        let is_inside = all.iter().any(|other| other != path && path.starts_with(other));
        if !is_inside && !systems.contains(path) {
            systems.push(path.clone());
        }
    }
    systems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_a_string() {
        assert_eq!(line_of(Path::new("/a \"b\"\\c")), b"#line 1 \"/a \\\"b\\\"\\\\c\"\n");
    }
}
