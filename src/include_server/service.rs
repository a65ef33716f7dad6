//! What stays warm between questions: the engine, the compressed files, and the tree for stock's clients.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::answer::{self, Content, Needed};
use super::bodies::Bodies;
use super::connection::Asked;
use super::mirror::Mirror;
use crate::args::printable;
use crate::include::{Engine, Unit};
use crate::wire::{bodies, include};

/// Resident memory at which everything is forgotten, in bytes: several times what the largest projects need.
const MOST_MEMORY: u64 = 1 << 30;
/// Questions between two looks at it.
const LOOK_EVERY: u64 = 128;

/// How often what was asked.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answered with files.
    pub covered: u64,
    /// Left to the client.
    pub refused: u64,
}

/// The service.
pub struct Service {
    engine: Engine,
    bodies: Bodies,
    mirror: Option<Mirror>,
    mirror_parent: PathBuf,
    /// So far.
    pub counts: Counts,
}

impl Service {
    /// With everything still to learn; trees go into `mirror_parent`.
    pub fn new(mirror_parent: PathBuf) -> io::Result<Service> {
        let bodies = Bodies::new()?;
        Ok(Service { engine: Engine::new(), bodies, mirror: None, mirror_parent, counts: Counts::default() })
    }

    /// The file that answers to our own clients speak of.
    pub fn shared(&self) -> &fs::File {
        self.bodies.shared()
    }

    /// The bytes of an answer.
    pub fn answer(&mut self, asked: Asked) -> Vec<u8> {
        self.make_room();
        let mut bytes = Vec::with_capacity(16 * 1024);
        match asked {
            Asked::Inquiry(inquiry) => {
                let lines = inquiry.lines;
                let unit = answer::unit_of_inquiry(inquiry);
                let answer = self.needed(&unit, lines).map(|needed| needed.into_iter().map(item).collect());
                if let Err(reason) = &answer {
                    log::info!("not covering {}: {reason}", shown(&unit));
                }
                bodies::encode_answer(&answer, &mut bytes);
            }
            Asked::Question(question) => {
                let words = question.argv.clone();
                let paths = answer::unit_of_question(question)
                    .and_then(|unit| self.needed(&unit, true))
                    .and_then(|needed| self.paths(&needed));
                if let Err(reason) = &paths {
                    let words = words.join(&b' ');
                    log::warn!("not covering \"{}\": {reason}", words.escape_ascii());
                }
                include::encode_answer(&paths.unwrap_or_default(), &mut bytes);
            }
        }
        bytes
    }

    fn needed(&mut self, unit: &Unit, lines: bool) -> Result<Vec<Needed>, String> {
        let Service { engine, bodies, .. } = self;
        // Nothing that a source can say must end the server; should it, the engine may be in any state.
        let needed = catch_unwind(AssertUnwindSafe(|| answer::needed(engine, bodies, unit, lines)))
            .unwrap_or_else(|_| {
                self.engine = Engine::new();
                Err("the include engine has failed: please report this source".to_owned())
            });
        match needed {
            Ok(_) => self.counts.covered += 1,
            Err(_) => self.counts.refused += 1,
        }
        needed
    }

    fn paths(&mut self, needed: &[Needed]) -> Result<Vec<Vec<u8>>, String> {
        let cannot = |e: io::Error| format!("its files cannot be put into a tree: {e}");
        let mirror = match &mut self.mirror {
            Some(mirror) => mirror,
            none => none.insert(Mirror::new(&self.mirror_parent).map_err(cannot)?),
        };
        mirror.make(needed, &self.bodies).map_err(cannot)
    }

    fn make_room(&mut self) {
        if let Err(e) = self.bodies.make_room() {
            log::warn!("cannot make room for compressed files: {e}");
        }
        let asked = self.counts.covered + self.counts.refused;
        if asked % LOOK_EVERY == LOOK_EVERY - 1 && resident().is_some_and(|bytes| bytes > MOST_MEMORY) {
            log::info!("forgetting everything to save memory");
            self.engine = Engine::new();
        }
    }
}

fn item(needed: Needed) -> bodies::Item {
    use std::os::unix::ffi::OsStringExt;

    let depth = needed.path.components().count() - 1;
    let name = needed.path.into_os_string().into_vec();
    let content = match needed.content {
        Content::File { place, .. } => bodies::Content::File { offset: place.offset, len: place.len },
        Content::Placeholder => bodies::Content::File { offset: 0, len: 0 },
        Content::Link(target) => bodies::Content::Link(target.into_os_string().into_vec()),
        Content::System => {
            let mut target = b"../".repeat(20 + depth);
            target.extend_from_slice(&name[1..]);
            bodies::Content::Link(target)
        }
    };
    bodies::Item { name, content }
}

fn shown(unit: &Unit) -> String {
    let words: Vec<String> = unit.argv.iter().map(|word| printable(word).to_string()).collect();
    format!("\"{}\"", words.join(" "))
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // The smallest page there is.
    Some(pages * 4096)
}
