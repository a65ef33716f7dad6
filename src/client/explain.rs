//! `distcc --explain COMPILER ARGS…`: what would become of a command, without doing any of it.
//!
//! It asks the steps that a compile goes through, so that it cannot say anything else than what would happen.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::command::{CompileCommand, working_directory};
use super::preprocess::{self, Macros};
use super::toolchain::{CompilerCheck, Toolchain};
use super::{judge, pump};
use crate::args::{self, Job, Local, Verdict, printable};
use crate::hostlist;
use crate::topdir::TopDir;
use crate::waiting::Interrupted;

/// The explanation: its first word is `remote` or `local`.
pub fn explain(command: &CompileCommand) -> String {
    if command.nested {
        return "local: distcc is running it already (_DISTCC_SAFEGUARD is set)\n".to_owned();
    }
    match judge(command) {
        Ok(Verdict::Local(local)) => explain_local(&local),
        Ok(Verdict::Remote(job)) => explain_remote(command, &job),
        Err(Interrupted(signal)) => format!("interrupted: {}\n", signal.description()),
    }
}

fn explain_local(local: &Local) -> String {
    let mut text = format!("local: {}\n", local.reason);
    if let Some(rule) = local.reason.word().and_then(|word| args::rule(word.as_bytes())) {
        let _ = writeln!(text, "rule: {rule}");
    }
    text
}

fn explain_remote(command: &CompileCommand, job: &Job) -> String {
    let mut text = "remote\n".to_owned();
    if job.already_preprocessed() {
        let _ = writeln!(text, "sends as it is: {}", printable(job.input()));
    } else {
        let _ = writeln!(text, "runs here: {}", Words(&preprocess::argv(command, job, Macros::Expanded)));
    }
    let _ = writeln!(text, "server gets: {}", Words(&words_for_server(command, job)));
    if job.split_file().is_some() && !job.assembly_only() {
        let _ = writeln!(text, "runs here then: {}", Words(&job.assemble_argv(Path::new(job.output()))));
    }
    if !job.already_preprocessed() && a_host_preprocesses() {
        let _ = writeln!(text, "{}", pump::describe(command, job));
    }
    let _ = write!(text, "writes: {}", Words(&[job.output().to_owned()]));
    if let Some(file) = job.dependency_file() {
        let _ = write!(text, " {}", Words(&[file.to_owned()]));
    }
    if let Some(file) = job.split_file().filter(|_| !job.assembly_only()) {
        let _ = write!(text, " {}", Words(&[file.to_owned()]));
    }
    if job.loses_warnings() {
        text.push_str("\nwarnings: gcc gives none for what macros of system headers make of preprocessed text (C++: NULL)");
    }
    text.push_str("\nunless the source reads files in asm statements (.incbin)\n");
    text
}

/// The compiler and its arguments as a server gets them first.
fn words_for_server(command: &CompileCommand, job: &Job) -> Vec<OsString> {
    let top = TopDir::find().ok();
    let mut toolchain = Toolchain::new(command, job, CompilerCheck::Off, top.as_ref());
    // Interrupted: without the names.
    let _ = toolchain.learn_names();
    toolchain.server_argv(&working_directory(), true)
}

/// Whether there is a host for pump mode.
fn a_host_preprocesses() -> bool {
    let found = hostlist::find(TopDir::find().ok().as_ref());
    found.is_ok_and(|found| found.list.hosts.iter().any(|host| host.cpp))
}

/// Words as a shell would take them.
struct Words<'a>(&'a [OsString]);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { " " };
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=+,:@%^".contains(byte);
            match !word.is_empty() && word.as_bytes().iter().all(is_plain) {
                true => write!(f, "{separator}{}", printable(word))?,
                false => {
                    let quoted =
                        word.as_bytes().split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]);
                    write!(f, "{separator}'{}'", args::Printable(&quoted))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_be_pasted_into_a_shell() {
        let words = ["gcc", "-DX=it's \"1 2\"", "", "a.c", "$x"].map(OsString::from);
        assert_eq!(Words(&words).to_string(), "gcc '-DX=it'\\''s \"1 2\"' '' a.c '$x'");
    }
}
