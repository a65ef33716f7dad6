//! The record of a running job: the client writes it, monitors read it.
//!
//! One file per client, `binstate_PID`, in the layout of stock's C struct on the same machine (native byte
//! order and `long`), so that monitors and clients of both kinds can be mixed. Source: reference `client.md`
//! sections 5.3 and 5.4.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sys::process::{self, Pid};

/// What a job is doing; the numbers stand in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Just begun.
    Startup = 0,
    /// Waiting for a free slot.
    Blocked = 1,
    /// Connecting to the server.
    Connect = 2,
    /// Preprocessing on this machine.
    Preprocess = 3,
    /// Sending the source.
    Send = 4,
    /// The compiler runs, here or there.
    Compile = 5,
    /// Receiving the object.
    Receive = 6,
    /// Finished.
    Done = 7,
}

impl Phase {
    /// The word that monitors show.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Startup => "Startup",
            Phase::Blocked => "Blocked",
            Phase::Connect => "Connect",
            Phase::Preprocess => "Preprocess",
            Phase::Send => "Send",
            Phase::Compile => "Compile",
            Phase::Receive => "Receive",
            Phase::Done => "Done",
        }
    }

    /// Unknown numbers show as Compile, as stock's reader does it.
    fn from_number(number: u32) -> Phase {
        match number {
            0 => Phase::Startup,
            1 => Phase::Blocked,
            2 => Phase::Connect,
            3 => Phase::Preprocess,
            4 => Phase::Send,
            6 => Phase::Receive,
            7 => Phase::Done,
            _ => Phase::Compile,
        }
    }
}

/// One job as a monitor sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The client.
    pub pid: i32,
    /// The source's name without directories.
    pub file: String,
    /// The host's name, `localhost` for work on this machine.
    pub host: String,
    /// The slot on that host, from 0.
    pub slot: i32,
    /// What it is doing.
    pub phase: Phase,
}

/// Bytes of a C `long` and pointer on this machine.
const WORD: usize = size_of::<usize>();
const NAME: usize = 128;
/// Size, magic and pid; two names; slot and phase; a pointer that nobody reads.
const LEN: usize = 3 * WORD + 2 * NAME + 8 + WORD;
const MAGIC: usize = 0x4449_4800;
const PREFIX: &str = "binstate_";
/// A record that has not changed for so long is taken for left over.
const MAX_AGE: Duration = Duration::from_secs(60);

impl Record {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut at = 0;
        let mut put = |part: &[u8], room: usize| {
            // A name keeps its terminating NUL.
            let len = part.len().min(if room == NAME { NAME - 1 } else { room });
            bytes[at..at + len].copy_from_slice(&part[..len]);
            at += room;
        };
        put(&LEN.to_ne_bytes(), WORD);
        put(&MAGIC.to_ne_bytes(), WORD);
        put(&(self.pid as usize).to_ne_bytes(), WORD);
        put(self.file.as_bytes(), NAME);
        put(self.host.as_bytes(), NAME);
        put(&self.slot.to_ne_bytes(), 4);
        put(&(self.phase as u32).to_ne_bytes(), 4);
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Result<Record, &'static str> {
        let word = |index: usize| {
            let mut word = [0; WORD];
            word.copy_from_slice(&bytes[index * WORD..(index + 1) * WORD]);
            usize::from_ne_bytes(word)
        };
        let int = |at: usize| {
            let mut int = [0; 4];
            int.copy_from_slice(&bytes[at..at + 4]);
            i32::from_ne_bytes(int)
        };
        let name = |at: usize| {
            let name = &bytes[at..at + NAME];
            let end = name.iter().position(|b| *b == 0).unwrap_or(NAME);
            String::from_utf8_lossy(&name[..end]).into_owned()
        };
        if word(0) != LEN {
            return Err("wrong size: written by a distcc for another architecture or version");
        }
        if word(1) != MAGIC {
            return Err("wrong magic number");
        }
        let names = 3 * WORD;
        let ints = names + 2 * NAME;
        Ok(Record {
            pid: word(2) as i32,
            file: name(names),
            host: name(names + NAME),
            slot: int(ints),
            phase: Phase::from_number(int(ints + 4) as u32),
        })
    }
}

/// This process's record. Dropping it removes the file.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    record: Record,
    /// The file says something else.
    changed: bool,
}

impl Writer {
    /// Makes this process's record in `directory`.
    pub fn create(directory: &Path, source: &str) -> io::Result<Writer> {
        let pid = Pid::current().number();
        let path = directory.join(format!("{PREFIX}{pid}"));
        let file = File::create(&path)?;
        let record = Record {
            pid,
            file: source.rsplit('/').next().unwrap_or_default().to_owned(),
            host: String::new(),
            slot: 0,
            phase: Phase::Startup,
        };
        Ok(Writer { path, file, record, changed: true })
    }

    /// Names the host and slot that the next phases concern.
    pub fn set_place(&mut self, host: &str, slot: u32) {
        self.record.host.clear();
        self.record.host.push_str(host);
        self.record.slot = slot as i32;
        self.changed = true;
    }

    /// Shows `phase` to monitors. A full disk must not stop a compile, so failure is not reported.
    pub fn set_phase(&mut self, phase: Phase) {
        if self.record.phase == phase && !self.changed {
            return;
        }
        self.record.phase = phase;
        self.changed = false;
        let _ = self.file.write_all_at(&self.record.encode(), 0);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// All jobs in `directory`, sorted by host and slot. Left-over records are removed, unreadable ones reported
/// to `complain`.
pub fn read_all(directory: &Path, mut complain: impl FnMut(String)) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_record = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if !is_record {
            continue;
        }
        match read(&path) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {}
            Err(reason) => complain(format!("{}: {reason}", path.display())),
        }
    }
    records.sort_unstable_by(|a, b| (&a.host, a.slot, a.pid).cmp(&(&b.host, b.slot, b.pid)));
    Ok(records)
}

/// The client whose record has this file name.
pub fn pid_of(file_name: &OsStr) -> Option<i32> {
    file_name.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// One record; `None` for one that is being written, or whose job has gone.
///
/// # Errors
/// What is wrong with a file that is no record of this machine's distcc.
pub fn read(path: &Path) -> Result<Option<Record>, &'static str> {
    let Ok(mut file) = File::open(path) else { return Ok(None) };
    let modified =
        file.metadata().and_then(|metadata| metadata.modified()).unwrap_or_else(|_| SystemTime::now());
    let old = modified.elapsed().is_ok_and(|age| age > MAX_AGE);
    let mut bytes = [0; LEN];
    let read = file.read_exact(&mut bytes);
    let record = match read {
        Ok(()) => Record::decode(&bytes),
        Err(_) => return Ok(None),
    };
    let alive = record.as_ref().is_ok_and(|record| process::exists(record.pid));
    // Stock drops every job that stays in one phase for a minute; a long compile is better shown than
    // forgotten.
    if old && !alive {
        let _ = fs::remove_file(path);
        return Ok(None);
    }
    let record = record?;
    Ok((alive || record.phase == Phase::Done).then_some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record { pid: 27056, file: "hello.c".into(), host: "127.0.0.1".into(), slot: 3, phase: Phase::Send }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_layout_is_that_of_stock() {
        let bytes = record().encode();
        assert_eq!(bytes.len(), 296);
        assert_eq!(bytes[..8], 296u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 0x4449_4800u64.to_ne_bytes());
        assert_eq!(bytes[16..24], 27056u64.to_ne_bytes());
        assert_eq!(&bytes[24..32], b"hello.c\0");
        assert_eq!(&bytes[152..162], b"127.0.0.1\0");
        assert_eq!(bytes[280..284], 3u32.to_ne_bytes());
        assert_eq!(bytes[284..288], 4u32.to_ne_bytes());
    }

    #[test]
    fn a_record_comes_back() {
        assert_eq!(Record::decode(&record().encode()), Ok(record()));
        let long = Record { file: "x".repeat(300), ..record() };
        assert_eq!(Record::decode(&long.encode()).unwrap().file, "x".repeat(127));
    }

    #[test]
    fn foreign_records_are_refused() {
        let mut bytes = record().encode();
        bytes[0] ^= 1;
        assert!(Record::decode(&bytes).is_err());
        let mut bytes = record().encode();
        bytes[WORD] ^= 1;
        assert!(Record::decode(&bytes).is_err());
    }
}
