//! `--toolchain PREFIX=DIR`: a server for machines of another kind, whose compilers have a prefix here and none there.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::args::{CompilerName, printable};
use crate::sys::process::is_executable;

/// A cross toolchain: its compilers, and the beginning of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    prefix: String,
    bin: PathBuf,
}

/// The plain names that stand for a toolchain's compilers; with a version behind, too.
pub const PLAIN: [&str; 4] = ["cc", "c++", "gcc", "g++"];

impl FromStr for Toolchain {
    type Err = String;

    /// `PREFIX=DIR`, with or without the dash behind the prefix.
    fn from_str(text: &str) -> Result<Toolchain, String> {
        let Some((prefix, bin)) = text.split_once('=').filter(|(prefix, bin)| {
            !prefix.trim_matches('-').is_empty() && !prefix.contains('/') && bin.starts_with('/')
        }) else {
            return Err(format!(
                "--toolchain: \"{}\" is not PREFIX=DIR with an absolute DIR, such as arm-linux-gnueabihf-=/opt/arm/bin",
                printable(OsStr::new(text))
            ));
        };
        let toolchain = Toolchain { prefix: format!("{}-", prefix.trim_end_matches('-')), bin: bin.into() };
        if PLAIN.iter().all(|name| toolchain.program(OsStr::new(name)).is_none()) {
            return Err(format!("--toolchain: there is no {}gcc in {bin}", toolchain.prefix));
        }
        Ok(toolchain)
    }
}

impl Toolchain {
    /// The program for what a client calls `name`: plain, or with the prefix.
    pub fn find(&self, name: &OsStr) -> Option<PathBuf> {
        match name.as_bytes().strip_prefix(self.prefix.as_bytes()) {
            Some(plain) => self.program(OsStr::from_bytes(plain)),
            None => self.program(name),
        }
    }

    fn program(&self, plain: &OsStr) -> Option<PathBuf> {
        let parts = CompilerName::parse(plain.as_bytes()).filter(|parts| parts.prefix.is_empty())?;
        // Cross toolchains have gcc for what a native one also calls cc.
        let other = match parts.stem {
            "cc" => Some("gcc"),
            "c++" => Some("g++"),
            _ => None,
        };
        let file = |name: &[u8]| {
            let mut file = OsString::from(&self.prefix);
            file.push(OsStr::from_bytes(name));
            Some(self.bin.join(file)).filter(|file| is_executable(file))
        };
        file(plain.as_bytes()).or_else(|| file(&[other?.as_bytes(), parts.version].concat()))
    }
}

/// Whether `name` stands for a compiler of a toolchain wherever there is one: this machine's own would make objects
/// for another machine than the client's.
pub fn is_foreign(name: &OsStr) -> bool {
    CompilerName::parse(name.as_bytes())
        .is_some_and(|parts| parts.prefix.is_empty() && PLAIN.contains(&parts.stem))
}
