//! A compiler command line, understood.
//!
//! [`scan()`] is the client's side: it says whether a job can go to a server with all its outputs
//! coming out as the compiler itself would make them, and if so how to preprocess here and what to
//! ask of the server. [`check()`] is the server's side: what of the words a client sent may reach a
//! compiler. Both read the one table in `options`, so a client never sends what our server refuses.
//!
//! Words in, values out: finding compilers, expanding response files, asking what `native` means and
//! looking at files are left to the callers. Follows `client.md` section 2 and `daemon.md` section 10.

mod check;
mod deps;
mod language;
mod local;
mod machine;
mod name;
mod native;
mod options;
mod parse;
mod preprocessing;
mod pump;
mod response;
mod scan;
mod strip;

pub use check::{FindSpecs, Refusal, Root, ServerJob, check, check_in, check_with_specs};
pub use language::{Language, base_name, looks_like_file};
pub use local::{Local, LocalSlot, Printable, Reason, printable};
pub use machine::{hides_compiler, machine_words};
pub use name::CompilerName;
pub use native::{Driven, Processor, clang_attributes, processor_lines, question};
pub use options::rule;
pub use preprocessing::{MacroWord, Preinclude, Preprocessing, preprocessing};
pub use response::{expand, words as split_words};
pub use scan::{Verdict, scan};
pub use strip::Job;
