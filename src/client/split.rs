//! Split DWARF: debug information in a `.dwo` file beside the object (gcc's `-gsplit-dwarf`).
//!
//! A server returns one file, so it is asked for assembler text; the object and the `.dwo` are made of it here, by the
//! compiler's own driver, which assembles and then takes the object apart with `objcopy`. The text names the `.dwo` once,
//! by the server's name for it, in a table of strings that gcc writes in the order of their hashes: both the name and
//! the order are put right, and the files are those of a local compile.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use super::Stop;
use super::command::CompileCommand;
use super::desk::Desk;
use super::preprocess::{Preprocessed, Running};
use crate::args::Job;
use crate::scratch::{self, PrivateDir};
use crate::state::Phase;
use crate::sys::file::find;

/// Makes the object and the `.dwo` of a server's assembler text, and returns what the assembler said; or why a
/// local compile has to do it.
pub fn assemble(
    command: &CompileCommand,
    job: &Job,
    text: &[u8],
    desk: &mut Desk,
) -> Result<Result<Preprocessed, String>, Stop> {
    // Short, and not worth keeping compilers waiting for, like preprocessing.
    let _slot = desk.local_cpp_slot()?;
    desk.set_phase(Phase::Compile);
    finish(start(command, job.assemble_argv(Path::new(job.output())), text))
}

fn finish(started: io::Result<Running>) -> Result<Result<Preprocessed, String>, Stop> {
    let running = match started {
        Ok(running) => running,
        Err(e) => return Ok(Err(format!("cannot assemble: {e}"))),
    };
    Ok(match running.finish()? {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(_)) => Err("the server's text cannot be assembled here".to_owned()),
        Err(e) => Err(format!("cannot assemble: {e}")),
    })
}

/// Whether text that is the job's output is of this compiler's machine, which it does not say: then it can be assembled.
/// Text that is not meant for an assembler cannot, either; the error is why a local compile has to make it.
pub fn try_assembling(
    command: &CompileCommand,
    job: &Job,
    text: &[u8],
    desk: &mut Desk,
) -> Result<Result<(), String>, Stop> {
    let _slot = desk.local_cpp_slot()?;
    let dir = match PrivateDir::new(&scratch::directory(), "distcc_") {
        Ok(dir) => dir,
        Err(e) => return Ok(Err(e.to_string())),
    };
    finish(start(command, job.assemble_argv(&dir.path().join("a.o")), text)).map(|said| said.map(drop))
}

fn start(command: &CompileCommand, mut argv: Vec<OsString>, text: &[u8]) -> io::Result<Running> {
    let program = command.program().ok_or(io::ErrorKind::NotFound)?;
    let mut input: File = scratch::anonymous_file(c"distcc-assembler")?;
    input.write_all(text)?;
    input.rewind()?;
    argv[..1].clone_from_slice(&command.argv[..1]);
    Running::spawn(program, &argv, &command.environment(), &input, None::<&Path>)
}

/// The text with `name` for the `.dwo`; `None` if it is not as gcc writes it, or the name is not a plain one.
pub fn rename(text: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\".contains(byte) || *byte == b' ';
    if name.len() > MAX_NAME || !name.iter().all(is_plain) {
        return None;
    }
    let start = find(text, SECTION)? + SECTION.len();
    let start = start + find(&text[start..], b"\n")? + 1;
    let (mut strings, mut end) = (Vec::new(), start);
    while let Some(string) = TableString::read(&text[end..]) {
        end += string.len;
        strings.push(string);
    }
    if find(&text[end..], SECTION).is_some() {
        return None;
    }
    let at = strings.iter().position(|string| string.value.ends_with(b".dwo"))?;
    let directory = match strings.as_slice() {
        [_] => None,
        [_, _] => Some(strings[1 - at].value).filter(|directory| !directory.ends_with(b".dwo")),
        _ => return None,
    };
    let theirs = strings[at].value;
    if strings.len() == 2 && (directory.is_none() || comes_first(theirs, directory?) != (at == 0)) {
        return None;
    }
    let named = [strings[at].head, name, strings[at].tail].concat();
    let mut renamed = Vec::with_capacity(text.len() + name.len());
    renamed.extend_from_slice(&text[..start]);
    let other = strings.get(1 - at).map_or(&[][..], |string| string.bytes);
    match directory.is_none_or(|directory| comes_first(name, directory)) {
        true => renamed.extend([&named, other].concat()),
        false => renamed.extend([other, &named].concat()),
    }
    renamed.extend_from_slice(&text[end..]);
    Some(renamed)
}

/// Longer strings may be written in pieces.
const MAX_NAME: usize = 200;

/// The table of the strings that stay in the object: the directory's and the `.dwo`'s names.
const SECTION: &[u8] = b"\t.section\t.debug_str,";

/// One string of the table: a label and a directive, in two lines.
struct TableString<'a> {
    /// Up to the value.
    head: &'a [u8],
    value: &'a [u8],
    tail: &'a [u8],
    bytes: &'a [u8],
    len: usize,
}

impl<'a> TableString<'a> {
    fn read(text: &'a [u8]) -> Option<TableString<'a>> {
        let label = find(text, b"\n")?;
        let is_label = |text: &[u8]| text.starts_with(b".L") && text.ends_with(b":");
        if !is_label(&text[..label]) {
            return None;
        }
        let len = label + 1 + find(&text[label + 1..], b"\n")? + 1;
        let line = &text[label + 1..len];
        // The second where a zero has to be written (ARM).
        let forms = [(&b"\t.string\t\""[..], &b"\"\n"[..]), (b"\t.ascii\t\"", b"\\000\"\n")];
        let (directive, tail) = forms
            .into_iter()
            .find(|(directive, tail)| line.starts_with(directive) && line.ends_with(tail))?;
        let value = line.get(directive.len()..line.len() - tail.len())?;
        // Without escapes, a value is what it looks like.
        let is_whole = !value.iter().any(|byte| b"\"\\".contains(byte));
        is_whole.then_some(TableString {
            head: &text[..label + 1 + directive.len()],
            value,
            tail,
            bytes: &text[..len],
            len,
        })
    }
}

/// Whether the `.dwo`'s name comes before the directory's in a gcc's table of both, which has 13 places and gets
/// them in this order. Seen in gcc 11 and 12; the server's own order has to agree.
fn comes_first(dwo: &[u8], directory: &[u8]) -> bool {
    let hash = |string: &[u8]| {
        let next =
            |hash: u32, byte: &u8| hash.wrapping_mul(67).wrapping_add(u32::from(*byte)).wrapping_sub(113);
        string.iter().fold(0, next)
    };
    let (dwo, directory) = (hash(dwo), hash(directory));
    let first = dwo % 13;
    let second = match directory % 13 {
        taken if taken == first => (taken + 1 + directory % 11) % 13,
        free => free,
    };
    first < second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(strings: &[&str]) -> Vec<u8> {
        let strings: String = strings.iter().map(|it| format!(".LASF0:\n\t.string\t\"{it}\"\n")).collect();
        format!("f:\n\t.section\t.debug_str,\"MS\",@progbits,1\n{strings}\t.ident\t\"x\"\n").into_bytes()
    }

    /// Orders as gcc 12 has written them.
    #[test]
    fn the_name_gets_its_place() {
        let there = text(&["/tmp/nat/sp", "l.dwo"]);
        assert_eq!(rename(&there, b"l.dwo"), None, "not gcc's order");
        let there = text(&["l.dwo", "/tmp/nat/sp"]);
        assert_eq!(rename(&there, b"l.dwo").as_deref(), Some(&there[..]));
        assert_eq!(
            rename(&there, b"srv/XYZ.dwo").unwrap(),
            text(&["/tmp/nat/sp", "srv/XYZ.dwo"]),
            "another order"
        );
        assert_eq!(rename(&text(&["x.dwo"]), b"y.dwo").unwrap(), text(&["y.dwo"]));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for strings in
            [&[][..], &["/d"], &["/d", "/e"], &["a.dwo", "b.dwo"], &["/d", "a.dwo", "/e"], &["a\\1.dwo"]]
        {
            assert_eq!(rename(&text(strings), b"x.dwo"), None, "{strings:?}");
        }
        let once = text(&["a.dwo"]);
        assert_eq!(rename(&[&once[..], &once].concat(), b"x.dwo"), None);
        assert_eq!(rename(&once, b"\xff.dwo"), None);
        assert_eq!(rename(&once, b"\".dwo"), None);
        for end in 0..once.len() {
            let _ = rename(&once[..end], b"x.dwo");
        }
    }
}
