//! Dependency files (`-MD` and its kin). The preprocessor that runs on the client writes them, and
//! it must be told what the compiler would have worked out from `-o`: which file, which target.
//!
//! Pinned against gcc 12 and clang 14: with `-o X` the file is X with its extension replaced by
//! `.d`, the target is X; without `-o` both come from the source's base name, with `-E` as with `-c`.
//! `-Wp,-MD,FILE` bypasses gcc's driver, so gcc keeps the target of the source's base name even with
//! `-o`, whereas clang's driver understands it as `-MD -MF FILE`.

use super::language::{base_name, without_extension};
use super::local::Reason;
use super::options::{self, Effect};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a command line asks of dependency files.
#[derive(Default)]
pub struct Wishes<'a> {
    /// The word that asks for a file.
    wanted: Option<&'a [u8]>,
    file: Option<&'a [u8]>,
    has_target: bool,
    /// The first word that says more about a file, but does not ask for one.
    modifier: Option<&'a [u8]>,
    /// `-Wp,-MD,FILE`: the word and the file.
    handed_down: Option<(&'a [u8], &'a [u8])>,
}

/// A dependency file, and the words that make a preprocessor write it as the compiler would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub file: OsString,
    pub added: Vec<OsString>,
    /// What a server that preprocesses has to be told: it has another object and dependency file.
    pub asked_of_server: Vec<OsString>,
}

/// What decides where a dependency file goes and what it speaks of.
pub struct Job<'a> {
    pub compiler: &'a [u8],
    pub input: &'a [u8],
    pub preprocessed: bool,
    pub output: &'a [u8],
    pub output_is_given: bool,
}

impl<'a> Wishes<'a> {
    /// Notes one of the dependency options.
    pub fn note(&mut self, effect: Effect, word: &'a [u8], value: &'a [u8]) {
        match effect {
            Effect::DependencyWanted => self.wanted = Some(word),
            Effect::DependencyFile => self.file = Some(value),
            Effect::DependencyTarget => self.has_target = true,
            _ => {}
        }
        if effect != Effect::DependencyWanted {
            self.modifier.get_or_insert(word);
        }
    }

    /// Takes a `-Wp,` word. Clang understands it only with exactly one file, so nothing else will do.
    pub fn note_handed_down(&mut self, word: &'a [u8], words: &'a [u8]) -> Result<(), Reason> {
        let file = [&b"-MD,"[..], b"-MMD,"].iter().find_map(|asks| words.strip_prefix(*asks));
        match file {
            Some(file) if file.contains(&b',') => Err(Reason::at(
                word,
                "names a dependency file and more, which gcc and clang read differently",
            )),
            Some(_) if self.handed_down.is_some() => Err(Reason::at(word, "names a second dependency file")),
            Some(file) => {
                self.handed_down = Some((word, file));
                Ok(())
            }
            None if options::harmless_for_preprocessor(words) => Ok(()),
            None => Err(Reason::at(word, "holds words for the preprocessor that are not known")),
        }
    }

    /// Decides what to add for the preprocessor; nothing if there is no dependency file.
    pub fn plan(self, job: &Job) -> Result<Option<Plan>, Reason> {
        let asking = self.wanted.or(self.handed_down.map(|(word, _)| word));
        let Some(asking) = asking else {
            return match self.modifier {
                Some(word) => Err(Reason::at(word, "is without -MD or -MMD")),
                None => Ok(None),
            };
        };
        if job.preprocessed {
            return Err(Reason::at(asking, "finds no dependencies in preprocessed text"));
        }
        let plan = match self.handed_down {
            Some((word, _)) if self.wanted.is_some() || self.file.is_some() => {
                Err(Reason::at(word, "names one of two dependency files"))
            }
            Some((word, file)) => self.plan_handed_down(word, file, job),
            None => Ok(self.plan_plain(job)),
        }?;
        if is_special(plan.file.as_bytes()) {
            return Err(Reason::at(asking, "writes dependencies to something else than a file"));
        }
        if plan.file.as_bytes() == job.output {
            return Err(Reason::at(asking, "writes dependencies over the output"));
        }
        Ok(Some(plan))
    }

    fn plan_plain(&self, job: &Job) -> Plan {
        let mut added = Vec::new();
        let file = match self.file {
            Some(file) => owned(file),
            None => {
                let named_after = if job.output_is_given { job.output } else { base_name(job.input) };
                let mut file = owned(without_extension(named_after));
                file.push(".d");
                added.extend(["-MF".into(), file.clone()]);
                file
            }
        };
        if job.output_is_given && !self.has_target {
            added.extend(["-MQ".into(), owned(job.output)]);
        }
        let target = if job.output_is_given { job.output.to_vec() } else { source_target(job) };
        Plan { file, added, asked_of_server: self.target_words(&target) }
    }

    fn plan_handed_down(&self, word: &[u8], file: &[u8], job: &Job) -> Result<Plan, Reason> {
        let source_target = source_target(job);
        let target_is_sure = self.has_target || !job.output_is_given || job.output == source_target;
        let driver = Driver::of(job.compiler);
        let added = match driver {
            _ if target_is_sure => vec![],
            Driver::Gcc => vec![],
            Driver::Clang => vec!["-MQ".into(), owned(job.output)],
            Driver::Unknown => {
                return Err(Reason::at(
                    word,
                    "means one target to gcc and another to clang, and the compiler's name tells neither",
                ));
            }
        };
        let target = match driver {
            Driver::Clang if job.output_is_given => job.output,
            _ => &source_target,
        };
        let asks = &word[b"-Wp,".len()..word.len() - file.len() - b",".len()];
        let mut asked_of_server = vec![owned(asks)];
        asked_of_server.extend(self.target_words(target));
        Ok(Plan { file: owned(file), added, asked_of_server })
    }

    /// One word, because a server does not trust a value of its own word that looks like an option.
    fn target_words(&self, target: &[u8]) -> Vec<OsString> {
        if self.has_target { vec![] } else { vec![owned(&[b"-MQ", target].concat())] }
    }
}

/// What compilers call the target when nobody says.
fn source_target(job: &Job) -> Vec<u8> {
    [without_extension(base_name(job.input)), b".o"].concat()
}

/// Whose driver a compiler has, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Gcc,
    Clang,
    Unknown,
}

impl Driver {
    pub fn of(compiler: &[u8]) -> Driver {
        let name = base_name(compiler);
        let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
        if has(b"clang") {
            Driver::Clang
        } else if has(b"gcc") || has(b"g++") {
            Driver::Gcc
        } else {
            Driver::Unknown
        }
    }
}

/// Whether a name means a stream or device rather than a file that can be made; no name does, too. `/dev/shm` has files.
pub fn is_special(file: &[u8]) -> bool {
    let device = file.starts_with(b"/dev/") && !file.starts_with(b"/dev/shm/") || file.starts_with(b"/proc/");
    file.is_empty() || file == b"-" || file.ends_with(b"/") || device
}

fn owned(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(compiler: &'static str, output: Option<&'static str>) -> Job<'static> {
        Job {
            compiler: compiler.as_bytes(),
            input: b"sub/a.c",
            preprocessed: false,
            output: output.unwrap_or("a.o").as_bytes(),
            output_is_given: output.is_some(),
        }
    }

    fn added(wishes: Wishes, job: &Job) -> String {
        let plan = wishes.plan(job).unwrap().unwrap();
        plan.added.join(OsStr::new(" ")).into_string().unwrap()
    }

    fn wanted() -> Wishes<'static> {
        let mut wishes = Wishes::default();
        wishes.note(Effect::DependencyWanted, b"-MD", b"");
        wishes
    }

    fn handed_down() -> Wishes<'static> {
        let mut wishes = Wishes::default();
        wishes.note_handed_down(b"-Wp,-MD,f", b"-MD,f").unwrap();
        wishes
    }

    #[test]
    fn no_wish_no_file() {
        assert_eq!(Wishes::default().plan(&job("gcc", None)), Ok(None));
    }

    #[test]
    fn the_file_stands_beside_the_output_and_names_it() {
        assert_eq!(added(wanted(), &job("gcc", None)), "-MF a.d");
        assert_eq!(added(wanted(), &job("gcc", Some("o/x.o"))), "-MF o/x.d -MQ o/x.o");
        assert_eq!(added(wanted(), &job("gcc", Some("o.d/x"))), "-MF o.d/x.d -MQ o.d/x");
    }

    #[test]
    fn what_the_user_says_stays() {
        let mut wishes = wanted();
        wishes.note(Effect::DependencyFile, b"-MF", b"f");
        wishes.note(Effect::DependencyTarget, b"-MT", b"t");
        assert_eq!(added(wishes, &job("gcc", Some("o/x.o"))), "");
    }

    #[test]
    fn words_behind_the_driver_depend_on_the_driver() {
        let output = Some("o/x.o");
        assert_eq!(added(handed_down(), &job("/bin/x86_64-linux-gnu-gcc-12", output)), "");
        assert_eq!(added(handed_down(), &job("clang++-14", output)), "-MQ o/x.o");
        assert!(handed_down().plan(&job("cc", output)).is_err());
        assert_eq!(added(handed_down(), &job("cc", Some("a.o"))), "");
        assert_eq!(added(handed_down(), &job("cc", None)), "");
    }

    #[test]
    fn files_that_are_none() {
        for special in ["", "-", "/dev/stdout", "/dev/null", "/proc/self/fd/1", "dir/"] {
            assert!(is_special(special.as_bytes()), "{special}");
        }
        assert!(!is_special(b"dev/stdout"));
    }
}
