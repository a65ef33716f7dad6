//! Words of a command whose source the server preprocesses itself (protocol 3, "pump mode"): how the server
//! treats each, and the command as the client sends it.
//!
//! The server runs it in a copy of the client's directories below some root, so absolute paths get the root in
//! front, and prefix maps hide it from the object. Follows `pump.md` 4.4 and 5.1.

use super::deps::Driver;
use super::language::looks_like_file;
use super::local::Reason;
use super::options::{Attach, Effect, Need, Row, Server};
use super::parse::{Item, What, items};
use super::strip::Job;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a server does with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Hands it to the compiler as it is.
    Keep,
    /// Its value is a path, which means one below the root.
    Path,
    /// The same if there is such a directory below the root, else the server's own.
    Sysroot,
    /// `OLD=NEW`, where OLD may be a path that has the root in front of it now.
    PrefixMap,
    /// It is about the dependency file, and goes to the compiler.
    Dependencies,
    /// It names the dependency file, which is the server's own here.
    DependencyFile,
    /// Leaves it out.
    Drop,
    /// Refuses the job, because the option … (a phrase that reads on from "it").
    Refuse(&'static str),
}

/// How a server treats an option that it would take from a client that preprocesses, or that preprocessing
/// needs; `value` is the option's.
pub fn treatment(row: Row, value: &[u8]) -> Treatment {
    match row.effect() {
        Effect::DependencyWanted | Effect::DependencyTarget | Effect::DependencyPhony => {
            return Treatment::Dependencies;
        }
        Effect::DependencyFile => return Treatment::DependencyFile,
        Effect::PreprocessorWords if only_macros(value) => return Treatment::Keep,
        Effect::PreprocessorWords => {
            return Treatment::Refuse("holds words for the preprocessor that are not known to be harmless");
        }
        _ => {}
    }
    match (row.server(), row.effect()) {
        (Server::AcceptPath, _) if row.spelling().ends_with("-prefix-map=") => Treatment::PrefixMap,
        (Server::Accept | Server::AcceptPath | Server::AcceptAssembly, _) => Treatment::Keep,
        (Server::Refuse, Effect::Local(why) | Effect::PreprocessOnly(why)) => Treatment::Refuse(why),
        (Server::Refuse, _) => Treatment::Refuse("is not for a server"),
        (Server::Drop, Effect::For(Need::Preprocess)) => for_preprocessing(row, value),
        // Not used, but clang complains of that.
        (Server::Drop, Effect::For(_)) if value.starts_with(b"-") => Treatment::Drop,
        (Server::Drop, Effect::For(_)) => Treatment::Keep,
        (Server::Drop, _) => match row.spelling() {
            "-H" | "-finput-charset=" => Treatment::Keep,
            // They mean something with -E only.
            "-C" | "-CC" | "-P" | "-fminimize-whitespace" | "-pass-exit-codes" => Treatment::Drop,
            _ => Treatment::Refuse("is not for a server that preprocesses"),
        },
    }
}

fn for_preprocessing(row: Row, value: &[u8]) -> Treatment {
    match row.spelling() {
        // Relative to the sysroot or to the compiler, and those are the server's.
        _ if value.starts_with(b"=") || value.starts_with(b"$SYSROOT") => Treatment::Keep,
        "--sysroot" | "--sysroot=" | "-isysroot" => Treatment::Sysroot,
        "-F" | "-I" | "-cxx-isystem" | "-idirafter" | "-iframework" | "-imacros" | "-include"
        | "-iprefix" | "-iquote" | "-isystem" | "-isystem-after" | "-stdlib++-isystem" => Treatment::Path,
        "--gcc-install-dir=" | "--gcc-toolchain=" => Treatment::Refuse("takes programs from another place"),
        "-iremap" => Treatment::Refuse("maps paths that are other ones on a server"),
        "-ivfsoverlay" => Treatment::Refuse("reads paths from a file"),
        _ => Treatment::Keep,
    }
}

fn only_macros(words: &[u8]) -> bool {
    words.split(|byte| *byte == b',').all(|word| word.starts_with(b"-D") || word.starts_with(b"-U"))
}

impl Job {
    /// The command for a server that preprocesses; `directory` is where the client runs, by its physical name, which is
    /// what the server gets, and `called` is how compilers call it here.
    ///
    /// # Errors
    /// Why the server's compile would not come out as the local one's.
    pub fn pump_argv(&self, directory: &Path, called: &Path) -> Result<Vec<OsString>, Reason> {
        if self.kind.preprocessed {
            return Err(Reason::whole("the source is preprocessed already"));
        }
        if self.split_file.is_some() {
            return Err(Reason::whole("a .dwo file is made here"));
        }
        if directory.parent().is_none() {
            return Err(Reason::whole("the root directory has no name in debug information of a server"));
        }
        if self.records_directory && directory != called {
            return Err(Reason::whole("debug information names the directory by a symbolic link"));
        }
        let words: Vec<&[u8]> = self.argv.iter().map(|word| word.as_bytes()).collect();
        let mut argv: Vec<OsString> = self.argv.iter().take(1).cloned().collect();
        for item in items(&words) {
            match item.what {
                What::Option(row, value) => self.take_option(row, &item, value, &mut argv)?,
                _ => argv.push(owned(item.word)),
            }
        }
        if let Some(plan) = &self.dependencies {
            argv.extend_from_slice(&plan.asked_of_server);
        }
        if !self.output_is_given {
            argv.extend(["-o".into(), self.output.clone()]);
        }
        Ok(argv)
    }

    fn take_option(
        &self,
        row: Row,
        item: &Item,
        value: &[u8],
        argv: &mut Vec<OsString>,
    ) -> Result<(), Reason> {
        if item.word.starts_with(b"-fsanitize") {
            return Err(Reason::at(item.word, "puts file names into the object that no option maps"));
        }
        let is_understood = value.starts_with(b"-MD,") || value.starts_with(b"-MMD,");
        if row.effect() == Effect::PreprocessorWords && is_understood {
            // In the dependency plan.
            return Ok(());
        }
        let treatment = treatment(row, value);
        match treatment {
            Treatment::Refuse(why) => return Err(Reason::at(item.word, why)),
            Treatment::PrefixMap if Driver::of(self.argv[0].as_bytes()) != Driver::Gcc => {
                return Err(Reason::at(item.word, "is a second map, of which not every clang obeys both"));
            }
            Treatment::DependencyFile | Treatment::Drop => return Ok(()),
            _ => {}
        }
        // A stock server takes the value of a separate -MT for the only target, and what looks like a source for the
        // source; ours does not trust what looks like an option.
        let is_misread = treatment == Treatment::Dependencies
            || row.effect() != Effect::Output && (looks_like_file(value) || value.starts_with(b"-"));
        match (item.words, row.attach()) {
            (1, _) => argv.push(owned(item.word)),
            (_, Attach::Either) if is_misread && !value.is_empty() => {
                argv.push(owned(&[item.word, value].concat()))
            }
            _ if is_misread => return Err(Reason::at(value, "is a value that a server would misread")),
            _ => argv.extend([owned(item.word), owned(value)]),
        }
        Ok(())
    }
}

fn owned(word: &[u8]) -> OsString {
    OsStr::from_bytes(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, scan};
    use super::*;

    fn sent_from(line: &str, directory: &str, called: &str) -> Result<String, String> {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let Verdict::Remote(job) = scan(&argv) else { panic!("{line} is local") };
        let argv = job.pump_argv(Path::new(directory), Path::new(called)).map_err(|e| e.to_string())?;
        Ok(argv.join(OsStr::new(" ")).into_string().unwrap())
    }

    fn sent(line: &str) -> String {
        sent_from(line, "/w", "/w").unwrap()
    }

    #[test]
    fn the_server_gets_all_that_preprocessing_needs() {
        assert_eq!(
            sent("gcc -c -DX -I i -Wp,-DY -include x.c -lm -isystem /s -x c++ a.c -o b/a.o"),
            "gcc -c -DX -I i -Wp,-DY -includex.c -lm -isystem /s -x c++ a.c -o b/a.o"
        );
        assert_eq!(sent("gcc -c sub/a.c"), "gcc -c sub/a.c -o a.o");
    }

    #[test]
    fn it_is_told_what_the_dependency_file_speaks_of() {
        assert_eq!(sent("gcc -c -MD -MF x.d -MP a.c -o b/a.o"), "gcc -c -MD -MP a.c -o b/a.o -MQb/a.o");
        assert_eq!(sent("gcc -c -MMD -MT t -MT u a.c"), "gcc -c -MMD -MTt -MTu a.c -o a.o");
        assert_eq!(sent("gcc -c -Wp,-MD,x.d a.c -o b/x.o"), "gcc -c a.c -o b/x.o -MD -MQa.o");
        assert_eq!(sent("clang -c -Wp,-MMD,x.d a.c -o b/x.o"), "clang -c a.c -o b/x.o -MMD -MQb/x.o");
        assert_eq!(sent("gcc -c -MD a.c -o-a.o"), "gcc -c -MD a.c -o-a.o -MQ-a.o");
        assert_eq!(sent("gcc -S -MD a.c"), "gcc -S -MD a.c -MQa.o -o a.s");
    }

    #[test]
    fn what_would_come_out_differently_is_not_sent() {
        let plain = |line: &str| sent_from(line, "/w", "/w").unwrap_err();
        assert!(plain("gcc -c a.i").contains("preprocessed already"));
        assert!(plain("gcc -c -fsanitize=address a.c").contains("-fsanitize=address"));
        assert!(plain("clang -c -fdebug-prefix-map=/w=. a.c").contains("clang"));
        assert!(plain("gcc -c -Wp,-Ix a.c").contains("-Wp,-Ix"));
        assert!(plain("gcc -c -MD -MT  a.c").contains("misread"), "an empty value cannot be joined");
        assert!(plain("clang -c --gcc-toolchain=/t a.c").contains("programs"));
        assert!(sent_from("gcc -c a.c", "/", "/").is_err());
        assert!(sent_from("gcc -c -g a.c", "/w", "/link").is_err());
        assert!(sent_from("gcc -c a.c", "/w", "/link").is_ok());
        assert!(sent("gcc -c -g -fdebug-prefix-map=/w=. a.c").contains("-fdebug-prefix-map=/w=."));
    }
}
