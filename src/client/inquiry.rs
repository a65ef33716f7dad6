//! Questions to the compiler of a command about itself. Each is asked once; `facts` keeps the answers.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command::CompileCommand;
use super::preprocess::{Preprocessed, Running};
use crate::facts::Entry;
use crate::object::{self, Maker, Target};
use crate::scratch::{self, PrivateDir};
use crate::sys::file;
use crate::topdir::TopDir;
use crate::waiting::Interrupted;

/// A compiler that can be asked.
pub struct Inquiry<'a> {
    command: &'a CompileCommand,
    program: &'a Path,
    top: Option<&'a TopDir>,
}

/// What a compiler makes, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The machine in words, as in `x86_64-linux-gnu`.
    pub triple: Option<String>,
    /// What its objects say of it; `None` if they are not ELF objects.
    pub maker: Option<Maker>,
}

impl<'a> Inquiry<'a> {
    /// Asks the compiler of `command`; `None` if there is none.
    pub fn new(command: &'a CompileCommand, top: Option<&'a TopDir>) -> Option<Inquiry<'a>> {
        Some(Inquiry { command, program: command.program()?, top })
    }

    /// What it said earlier about what it makes when it gets these words that choose a machine.
    pub fn kept(&self, machine: &[OsString]) -> Option<About> {
        About::decode(&self.about(machine)?.read()?)
    }

    /// Asks it that, and keeps the answer. `triple` is known already, or not of interest.
    pub fn learn(&self, machine: &[OsString], triple: Option<String>) -> Result<About, Interrupted> {
        let about = About { triple, maker: self.maker(machine)? };
        if let Some(entry) = self.about(machine) {
            entry.write(&about.encode());
        }
        Ok(about)
    }

    /// Asks it for its version and its machine, as `-dumpversion` and `-dumpmachine` say them, and keeps the answer.
    pub fn version_and_machine(&self) -> Result<Option<(String, String)>, Interrupted> {
        let entry = self.entry(vec!["dumps".into()]);
        let read = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).ok()?;
            let (version, machine) = text.split_once('\n')?;
            Some((version.to_owned(), machine.to_owned()))
        };
        if let Some(kept) = entry.as_ref().and_then(Entry::read).and_then(read) {
            return Ok(Some(kept));
        }
        let (Some(version), Some(machine)) =
            (self.run(&["-dumpversion".into()], None)?, self.run(&["-dumpmachine".into()], None)?)
        else {
            return Ok(None);
        };
        let line = |output: &Preprocessed| String::from_utf8_lossy(&output.text).trim().to_owned();
        let answer = (line(&version), line(&machine));
        if let Some(entry) = entry {
            entry.write(format!("{}\n{}", answer.0, answer.1).as_bytes());
        }
        Ok(Some(answer))
    }

    fn about(&self, machine: &[OsString]) -> Option<Entry<'a>> {
        let mut question = vec!["about".into()];
        question.extend_from_slice(machine);
        self.entry(question)
    }

    /// Where the answer to a question in these words is kept, which is this compiler's by this name.
    pub fn entry(&self, mut question: Vec<OsString>) -> Option<Entry<'a>> {
        // Compilers in one file may differ by the name they are called by (clang and clang++, wrappers).
        question.insert(1.min(question.len()), self.command.argv.first()?.clone());
        Entry::new(self.top?, self.program, &question)
    }

    /// Asks it for its machine in words.
    pub fn triple(&self) -> Result<Option<String>, Interrupted> {
        let Some(output) = self.run(&["-dumpmachine".into()], None)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&output.text).trim().to_owned();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_triple = text.contains('-') && !text.starts_with('-') && text.bytes().all(plain);
        Ok(is_triple.then_some(text))
    }

    /// Compiles nothing and looks at the result.
    fn maker(&self, machine: &[OsString]) -> Result<Option<Maker>, Interrupted> {
        let Ok(dir) = PrivateDir::new(&scratch::directory(), "distcc_") else { return Ok(None) };
        let mut words = machine.to_vec();
        words.extend(["-x", "c", "-c", "/dev/null", "-o", "about.o"].map(OsString::from));
        if self.run(&words, Some(dir.path()))?.is_none() {
            return Ok(None);
        }
        Ok(fs::read(dir.path().join("about.o")).ok().and_then(|bytes| object::read_elf(&bytes)))
    }

    /// Runs the compiler in `cwd`, with messages in English; `None` if it fails.
    pub fn run(&self, words: &[OsString], cwd: Option<&Path>) -> Result<Option<Preprocessed>, Interrupted> {
        let argv: Vec<OsString> = self.command.argv.iter().take(1).chain(words).cloned().collect();
        let mut environment = self.command.environment();
        environment.retain(|entry| !entry.as_bytes().starts_with(b"LC_ALL="));
        environment.push("LC_ALL=C".into());
        let program = match cwd {
            // Found relative to where we are.
            Some(_) => &std::path::absolute(self.program).unwrap_or_else(|_| self.program.to_owned()),
            None => self.program,
        };
        let Ok(null) = file::null() else { return Ok(None) };
        let Ok(running) = Running::spawn(program, &argv, &environment, &null, cwd) else { return Ok(None) };
        Ok(running.finish()?.ok().and_then(Result::ok))
    }
}

impl About {
    /// One line each for the triple, the machine and every ident; `-` for what is not known.
    fn encode(&self) -> Vec<u8> {
        let maker = self.maker.as_ref();
        let target = maker.and_then(|maker| maker.target);
        let target = target
            .map_or("-".to_owned(), |target| format!("{} {} {}", target.class, target.order, target.machine));
        let mut text = format!("{}\n{target}\n", self.triple.as_deref().unwrap_or("-"));
        for ident in maker.iter().flat_map(|maker| &maker.idents).filter(|ident| !ident.contains('\n')) {
            text.push_str(ident);
            text.push('\n');
        }
        text.into_bytes()
    }

    fn decode(answer: &[u8]) -> Option<About> {
        let text = std::str::from_utf8(answer).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let triple = lines.next().filter(|triple| !triple.is_empty())?;
        let target = match lines.next()? {
            "-" => None,
            numbers => {
                let mut numbers = numbers.split(' ').map(|number| number.parse::<u16>().ok());
                let (class, order) = (numbers.next()??, numbers.next()??);
                let machine = numbers.next()??;
                Some(Target { class: class.try_into().ok()?, order: order.try_into().ok()?, machine })
            }
        };
        Some(About {
            triple: (triple != "-").then(|| triple.to_owned()),
            maker: target
                .map(|target| Maker { target: Some(target), idents: lines.map(str::to_owned).collect() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back() {
        let target = Some(Target { class: 2, order: 1, machine: 62 });
        let maker = Maker { target, idents: vec!["GCC: (X) 1".to_owned(), "y".to_owned()] };
        let whole = About { triple: Some("x86_64-linux-gnu".to_owned()), maker: Some(maker) };
        let nothing = About { triple: None, maker: None };
        for about in [whole, nothing] {
            assert_eq!(About::decode(&about.encode()), Some(about));
        }
        for bad in ["", "\n", "x", "x\n", "x\ny\n", "x\n1 2\n", "x\n1 2 99999\n"] {
            assert_eq!(About::decode(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
