//! The compiler of one job, as far as servers are concerned: by which names they know it, and whether what they
//! return is what it would have made.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::Stop;
use super::command::CompileCommand;
use super::desk::Desk;
use super::inquiry::{About, Inquiry};
use super::names::Names;
use super::reply::Object;
use super::words::base_name;
use crate::args::{self, Job};
use crate::backoff::{Backoff, Blame};
use crate::hosts::Host;
use crate::hosts::offer::Compiler;
use crate::object::{self, Agreement, Difference, Maker};
use crate::topdir::TopDir;
use crate::waiting::Interrupted;

/// The compiler of `command` in the words in which servers announce theirs.
pub fn compiler(command: &CompileCommand, top: Option<&TopDir>) -> Result<Option<Compiler>, Interrupted> {
    let Some(inquiry) = Inquiry::new(command, top) else { return Ok(None) };
    let name = base_name(&command.argv[0]).to_string();
    Ok(inquiry.version_and_machine()?.map(|(version, machine)| Compiler { name, version, machine }))
}

/// What is done about an object of another compiler (`DISTCC_CHECK_COMPILER`). One for another machine is never taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompilerCheck {
    /// Thrown away if the compiler or its version differ.
    Version,
    /// Thrown away if anything of the compiler's name for itself differs.
    Strict,
    /// Taken, with a warning if the compiler or its version differ.
    Warn,
    /// Taken.
    Off,
}

/// The compiler of a job. It is asked only when there is somebody to tell: a host that answers, an object that came.
pub struct Toolchain<'a> {
    command: &'a CompileCommand,
    job: &'a Job,
    inquiry: Option<Inquiry<'a>>,
    /// The words that choose the machine.
    machine: Vec<OsString>,
    known: Option<About>,
    names: Names,
    triple: Option<String>,
    check: CompilerCheck,
}

impl<'a> Toolchain<'a> {
    /// Nothing is learnt yet.
    pub fn new(
        command: &'a CompileCommand,
        job: &'a Job,
        check: CompilerCheck,
        top: Option<&'a TopDir>,
    ) -> Toolchain<'a> {
        Toolchain {
            command,
            job,
            inquiry: Inquiry::new(command, top),
            machine: args::machine_words(job.argv()),
            known: None,
            names: Names::default(),
            triple: None,
            check,
        }
    }

    /// Learns the names that servers may know the compiler by: mostly from one small file.
    pub fn learn_names(&mut self) -> Result<(), Interrupted> {
        let Some(inquiry) = self.inquiry.as_ref().filter(|_| self.known.is_none() && self.triple.is_none())
        else {
            return Ok(());
        };
        self.known = inquiry.kept(&self.machine);
        let wanted = Names::depend_on_machine(self.job.argv());
        self.triple = match &self.known {
            Some(about) if about.triple.is_some() || !wanted => about.triple.clone(),
            _ if wanted => inquiry.triple()?,
            _ => None,
        };
        if let Some(triple) = &self.triple {
            self.names = Names::new(self.job.argv(), triple, self.command.program(), &self.command.path);
        }
        Ok(())
    }

    /// The command for a server, which is to call the compiler by its plain name or by that with the machine.
    pub fn server_argv(&self, directory: &Path, cross: bool) -> Vec<OsString> {
        self.named(self.job.server_argv_from(directory.as_os_str()), cross)
    }

    /// A command with the names that servers may know the compiler by.
    pub fn named(&self, mut argv: Vec<OsString>, cross: bool) -> Vec<OsString> {
        argv.extend_from_slice(&self.names.appended);
        if let (true, Some(name)) = (cross, &self.names.cross) {
            argv[0].clone_from(name);
        }
        argv
    }

    /// Whether `host` is to be tried with the name that has the machine in it.
    pub fn has_cross_name(&self, host: &Host, locks: &Path, period: Duration) -> bool {
        let name = self.names.cross.as_ref();
        name.is_some_and(|name| !Backoff::new(locks, period, name.as_encoded_bytes()).is_disliked(host))
    }

    /// Uses the plain name at `host` for a while.
    pub fn dislike_cross_name(&self, host: &Host, locks: &Path, period: Duration) {
        if let Some(name) = &self.names.cross {
            Backoff::new(locks, period, name.as_encoded_bytes()).dislike(host, Blame::Compiler);
        }
    }

    /// What about a returned object is not as in a local one, and whether the object is to be thrown away for it.
    pub fn judge(&mut self, object: &Object, desk: &mut Desk) -> Result<Option<(Difference, bool)>, Stop> {
        let got = match object {
            Object::Read(text) if self.job.returns_assembly() => Some(object::read_assembly(text)),
            Object::Read(bytes) => object::read_elf(bytes),
            Object::Written(pending) => object::read_elf_in(pending),
            Object::Unwritten(_) => return Ok(None),
        };
        if got.is_none() && self.check == CompilerCheck::Off {
            return Ok(None);
        }
        let mut found = self.compare(got.as_ref());
        if self.known.is_none() || found.is_some() {
            // Other jobs may be about to ask the same.
            let _slot = desk.local_cpp_slot()?;
            self.known = self.ask()?;
            found = self.compare(got.as_ref());
        }
        Ok(found.map(|difference| {
            let is_fatal = match difference {
                Difference::Machine(..) => true,
                Difference::Compiler(..) => self.check != CompilerCheck::Warn,
            };
            (difference, is_fatal)
        }))
    }

    /// What is known already seems to be wrong if there is any: the compiler may be another one than when it was asked,
    /// behind a wrapper that is the same.
    fn ask(&self) -> Result<Option<About>, Interrupted> {
        let Some(inquiry) = &self.inquiry else { return Ok(None) };
        let kept = if self.known.is_none() { inquiry.kept(&self.machine) } else { None };
        kept.map_or_else(|| inquiry.learn(&self.machine, self.triple.clone()), Ok).map(Some)
    }

    fn compare(&self, got: Option<&Maker>) -> Option<Difference> {
        let expected = self.known.as_ref()?.maker.as_ref()?;
        let Some(got) = got else {
            return expected.target.map(|target| Difference::Machine(None, target));
        };
        let agreement = match self.check {
            _ if args::hides_compiler(self.job.argv()) => Agreement::Machine,
            CompilerCheck::Off => Agreement::Machine,
            CompilerCheck::Strict => Agreement::Ident,
            CompilerCheck::Version | CompilerCheck::Warn => Agreement::Version,
        };
        object::compare(got, expected, agreement)
    }
}
