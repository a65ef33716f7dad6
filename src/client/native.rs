//! Servers do not know what `native` means here, so the compiler is asked for the same in other words. Where it has
//! none, the job stays here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::command::CompileCommand;
use super::inquiry::Inquiry;
use super::scan;
use crate::args::{Driven, Processor, Verdict, clang_attributes, processor_lines, question};
use crate::facts;
use crate::scratch::{self, PrivateDir};
use crate::topdir::TopDir;
use crate::waiting::Interrupted;

/// The verdict on a command with such words; they are looked into only if nothing else keeps the job here.
pub fn judge(
    command: &CompileCommand,
    words: &[OsString],
    processor: &Processor,
) -> Result<Verdict, Interrupted> {
    if let verdict @ Verdict::Local(_) = scan(&processor.command(&[])) {
        return Ok(verdict);
    }
    let top = TopDir::find().ok();
    let resolved = match Inquiry::new(command, top.as_ref()) {
        Some(inquiry) => resolve(&inquiry, processor.words())?,
        None => None,
    };
    Ok(match resolved {
        Some(resolved) => scan(&processor.command(&resolved)),
        // Says why.
        None => scan(words),
    })
}

/// The same words without `native`.
fn resolve(inquiry: &Inquiry, words: &[OsString]) -> Result<Option<Vec<OsString>>, Interrupted> {
    let entry = this_processor().and_then(|processor| {
        let mut question = vec!["native".into(), processor];
        question.extend_from_slice(words);
        inquiry.entry(question)
    });
    let resolved = match entry.as_ref().and_then(|entry| entry.read()) {
        Some(answer) => decode(&answer),
        None => {
            let resolved = ask(inquiry, words)?.unwrap_or_default();
            if let Some(entry) = entry {
                entry.write(&resolved.join(&OsString::from("\n")).into_vec());
            }
            resolved
        }
    };
    Ok(Some(resolved).filter(|resolved| !resolved.is_empty()))
}

fn decode(answer: &[u8]) -> Vec<OsString> {
    let words = answer.split(|byte| *byte == b'\n').filter(|word| !word.is_empty());
    words.map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// A home directory may be that of many machines, so answers are those of a processor. Only the start of the list is
/// read: a machine has a few kinds of processors, and a hundred of a kind.
fn this_processor() -> Option<OsString> {
    const START: u64 = 16 * 1024;
    let mut text = Vec::new();
    File::open("/proc/cpuinfo").ok()?.take(START).read_to_end(&mut text).ok()?;
    let lines = processor_lines(&text);
    if lines.is_empty() {
        return None;
    }
    Some(format!("{:016x}", facts::hash(&lines.concat())).into())
}

fn ask(inquiry: &Inquiry, words: &[OsString]) -> Result<Option<Vec<OsString>>, Interrupted> {
    let Some(driven) = what_is_driven(inquiry, words)? else { return Ok(None) };
    // Words are kept one a line.
    let is_plain = |word: &OsString| !word.as_bytes().contains(&b'\n');
    for candidate in driven.candidates(words).into_iter().filter(|it| it.iter().all(is_plain)) {
        let is_same = match driven {
            Driven::Gcc { .. } => what_is_driven(inquiry, &candidate)?.as_ref() == Some(&driven),
            Driven::Clang { .. } => {
                let expected = attributes(inquiry, words)?;
                expected.is_some() && attributes(inquiry, &candidate)? == expected
            }
        };
        if is_same {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

fn what_is_driven(inquiry: &Inquiry, words: &[OsString]) -> Result<Option<Driven>, Interrupted> {
    let said = inquiry.run(&question(words), None)?;
    Ok(said.and_then(|said| Driven::read(&said.stderr)))
}

/// What clang's code generator gets to know of the processor.
fn attributes(inquiry: &Inquiry, words: &[OsString]) -> Result<Option<Vec<String>>, Interrupted> {
    let Ok(dir) = PrivateDir::new(&scratch::directory(), "distcc_") else { return Ok(None) };
    if fs::write(dir.path().join("native.c"), "void f(void) {}\n").is_err() {
        return Ok(None);
    }
    let mut words = words.to_vec();
    words.extend(["-S", "-emit-llvm", "-o", "-", "native.c"].map(OsString::from));
    let module = inquiry.run(&words, Some(dir.path()))?;
    Ok(module.and_then(|module| clang_attributes(&module.text)))
}
