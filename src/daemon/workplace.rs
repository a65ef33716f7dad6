//! Where a job works: a private directory for its compiler, and a file in memory for its source.
//!
//! Both serve one job after the other. Making and removing a directory costs as much as a small job's whole
//! way through the daemon, and getting and returning memory page by page costs more than receiving a
//! large source into pages that are there (5 ms against 2 ms for 10 MB).
//!
//! The compiler finds a source that is in memory under its name in the directory: a link to its own standard
//! input, `/proc/self/fd/0`. So its name is that of a file, which some compilers put into the object, and no
//! disk is touched.

use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::daemon::limits;
use crate::scratch::{self, PrivateDir};
use crate::sys::leash::Leash;
use crate::sys::process::Pid;
use crate::sys::splice::Splicer;

/// Standard input, as the process sees it that follows a link to it.
const STANDARD_INPUT: &str = "/proc/self/fd/0";
/// How many unused workplaces a worker keeps.
const KEPT: usize = 16;
/// The most memory that the unused workplaces of a worker keep, in bytes: as much as sources may have had.
const KEPT_MEMORY: u64 = limits::MEMORY as u64;
/// How long an unused workplace is kept.
const KEPT_TIME: Duration = Duration::from_secs(1);

/// A job's directory and its source.
#[derive(Debug)]
pub struct Workplace {
    dir: PrivateDir,
    /// The extension that tells the compiler what the source is.
    extension: &'static str,
    /// Extensions for which there is a link to standard input.
    links: Vec<&'static str>,
    /// Whether sources may be in memory.
    in_memory: bool,
    /// The last source in memory, as long as that was.
    memory: Option<File>,
    memory_len: u64,
    /// The source, once it is too large for memory.
    disk: Option<File>,
    /// Bytes of this job's source.
    len: u64,
    /// For the compiler's standard output and error, while no compiler has written there.
    outputs: Option<(File, File)>,
    leash: Option<Leash>,
}

impl Workplace {
    fn new(in_memory: bool) -> io::Result<Workplace> {
        let dir = PrivateDir::new(&scratch::directory(), &prefix(Pid::current()))?;
        Ok(Workplace {
            dir,
            extension: "",
            links: Vec::new(),
            in_memory,
            memory: None,
            memory_len: 0,
            disk: None,
            len: 0,
            outputs: None,
            leash: Leash::new().inspect_err(|e| log::debug!("compilers may outlive us: {e}")).ok(),
        })
    }

    /// The compiler's directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The source's name for the compiler.
    pub fn source_path(&self) -> PathBuf {
        source_path(self.path(), self.extension)
    }

    /// Where the compiler is to put the object.
    pub fn object_path(&self) -> PathBuf {
        self.path().join("object")
    }

    /// Where it is to put the dependency file, if there is to be one.
    pub fn dependencies_path(&self) -> PathBuf {
        self.path().join("dependencies")
    }

    /// Memory that the source takes, in bytes.
    pub fn held(&self) -> usize {
        if self.disk.is_some() { 0 } else { self.len as usize }
    }

    /// What the compiler needs as its standard input, if anything.
    pub fn standard_input(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().filter(|_| self.disk.is_none()).map(File::as_fd)
    }

    /// What ends the compiler and all that it has started when this process has come to its end, whatever that was.
    pub fn leash(&self) -> Option<&Leash> {
        self.leash.as_ref()
    }

    /// Two empty files for the compiler's standard output and error.
    pub fn take_outputs(&mut self) -> io::Result<(File, File)> {
        match self.outputs.take() {
            Some(outputs) => Ok(outputs),
            None => {
                Ok((scratch::anonymous_file(c"distccd-stdout")?, scratch::anonymous_file(c"distccd-stderr")?))
            }
        }
    }

    /// The compiler has written nothing there.
    pub fn return_outputs(&mut self, stdout: File, stderr: File) {
        self.outputs = Some((stdout, stderr));
    }

    /// A file on the disk, without a name, for what memory has no room for.
    pub fn unnamed_file(&self) -> io::Result<File> {
        let path = self.path().join("unnamed");
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(path)?;
        Ok(file)
    }

    /// Appends to the source. What is in memory goes to the disk once it would be more than `most` bytes.
    pub fn write(&mut self, bytes: &[u8], most: usize) -> io::Result<()> {
        let offset = self.len;
        self.place_for(bytes.len(), most)?.write_all_at(bytes, offset)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The same with the `count` bytes that `splicer` has taken.
    pub fn write_spliced(&mut self, splicer: &mut Splicer, count: usize, most: usize) -> io::Result<()> {
        let offset = self.len;
        splicer.put(self.place_for(count, most)?.as_fd(), offset, count)?;
        self.len += count as u64;
        Ok(())
    }

    /// The source is complete.
    pub fn finish(&mut self) -> io::Result<()> {
        // An empty one, too, must be somewhere.
        self.place_for(0, usize::MAX)?;
        if self.disk.is_some() {
            return Ok(());
        }
        if let Some(memory) = &self.memory {
            if self.memory_len > self.len {
                memory.set_len(self.len)?;
            }
            self.memory_len = self.len;
        }
        if !self.links.contains(&self.extension) {
            std::os::unix::fs::symlink(STANDARD_INPUT, self.source_path())?;
            self.links.push(self.extension);
        }
        Ok(())
    }

    fn place_for(&mut self, more: usize, most: usize) -> io::Result<&File> {
        let fits = self.in_memory && self.len as usize + more <= most;
        if self.disk.is_none() && !fits {
            if self.links.contains(&self.extension) {
                fs::remove_file(self.source_path())?;
                self.links.retain(|extension| *extension != self.extension);
            }
            let mut disk = File::create_new(self.source_path())?;
            if let Some(mut memory) = self.memory.take() {
                memory.set_len(self.len)?;
                memory.rewind()?;
                io::copy(&mut memory, &mut disk)?;
            }
            self.memory_len = 0;
            self.disk = Some(disk);
        }
        if self.disk.is_none() && self.memory.is_none() {
            self.memory = Some(scratch::anonymous_file(c"distccd-source")?);
        }
        self.disk.as_ref().or(self.memory.as_ref()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes it as good as new, if nothing is in it but what we know; false if there is more.
    fn clear(&mut self) -> bool {
        match self.disk.take() {
            Some(_) => drop(fs::remove_file(self.source_path())),
            None => self.memory_len = self.memory_len.max(self.len),
        }
        self.len = 0;
        // A compile that failed has left none.
        let _ = fs::remove_file(self.object_path());
        fs::read_dir(self.path()).is_ok_and(|entries| entries.count() == self.links.len())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What is known by name goes without a look at what else there may be, which is mostly nothing.
        for extension in &self.links {
            let _ = fs::remove_file(source_path(self.dir.path(), extension));
        }
    }
}

fn source_path(dir: &Path, extension: &str) -> PathBuf {
    dir.join("source").with_extension(extension)
}

/// A worker's unused workplaces.
#[derive(Debug)]
pub struct Workplaces {
    /// The one used last at the end.
    unused: Vec<(Workplace, Instant)>,
    /// Compilers can open their standard input by name.
    in_memory: bool,
    /// Each is left behind as it is, for somebody to look into (`DISTCC_SAVE_TEMPS`).
    kept: bool,
}

impl Workplaces {
    /// None yet. Those that are `kept` serve one job each, with the source in a file, and stay for somebody to look into.
    pub fn new(kept: bool) -> Workplaces {
        let in_memory = Path::new(STANDARD_INPUT).parent().is_some_and(Path::exists);
        if !in_memory {
            log::info!("sources go through files, because /proc is not mounted");
        }
        Workplaces { unused: Vec::new(), in_memory: in_memory && !kept, kept }
    }

    /// One for a source with this extension.
    pub fn take(&mut self, extension: &'static str) -> io::Result<Workplace> {
        let mut workplace = match self.unused.pop() {
            Some((workplace, _)) => workplace,
            None => Workplace::new(self.in_memory)?,
        };
        workplace.extension = extension;
        if self.kept {
            log::info!("the job's files stay in {} (DISTCC_SAVE_TEMPS)", workplace.path().display());
            workplace.dir.keep();
        }
        Ok(workplace)
    }

    /// Takes one back whose compiler has come to its end by itself, or never ran.
    pub fn give_back(&mut self, mut workplace: Workplace) {
        if self.kept || !workplace.clear() || self.unused.len() == KEPT {
            return;
        }
        let kept: u64 = self.unused.iter().map(|(unused, _)| unused.memory_len).sum();
        if kept + workplace.memory_len > KEPT_MEMORY {
            workplace.memory = None;
            workplace.memory_len = 0;
        }
        self.unused.push((workplace, Instant::now()));
    }

    /// When the next one has been unused for long enough.
    pub fn deadline(&self) -> Option<Instant> {
        self.unused.first().map(|(_, since)| *since + KEPT_TIME)
    }

    /// Removes those that have been unused for long enough.
    pub fn expire(&mut self, now: Instant) {
        self.unused.retain(|(_, since)| now < *since + KEPT_TIME);
    }
}

/// What the names of a worker's job directories begin with.
pub fn prefix(worker: Pid) -> String {
    format!("distccd_{}_", worker.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workplaces() -> Workplaces {
        Workplaces { unused: Vec::new(), in_memory: true, kept: false }
    }

    /// What a compiler with this workplace would read.
    fn contents(workplace: &Workplace) -> Vec<u8> {
        match workplace.standard_input() {
            Some(_) => {
                assert_eq!(fs::read_link(workplace.source_path()).unwrap(), Path::new(STANDARD_INPUT));
                let memory = workplace.memory.as_ref().unwrap();
                let mut bytes = vec![0; memory.metadata().unwrap().len() as usize];
                memory.read_exact_at(&mut bytes, 0).unwrap();
                bytes
            }
            None => fs::read(workplace.source_path()).unwrap(),
        }
    }

    #[test]
    fn the_next_source_has_nothing_of_the_last() {
        let mut places = workplaces();
        let mut workplace = places.take("i").unwrap();
        workplace.write(b"a long source", 100).unwrap();
        workplace.finish().unwrap();
        assert_eq!(contents(&workplace), b"a long source");
        fs::write(workplace.object_path(), "object").unwrap();
        let path = workplace.path().to_owned();
        places.give_back(workplace);

        let mut workplace = places.take("ii").unwrap();
        assert_eq!(workplace.path(), path);
        assert!(!workplace.object_path().exists());
        workplace.write(b"short", 100).unwrap();
        workplace.finish().unwrap();
        assert_eq!(contents(&workplace), b"short");
        places.give_back(workplace);
        let mut empty = places.take("i").unwrap();
        empty.finish().unwrap();
        assert_eq!(contents(&empty), b"");
        drop(empty);
        assert!(!path.exists());
    }

    #[test]
    fn what_memory_has_no_room_for_goes_to_the_disk() {
        let mut places = workplaces();
        for _ in 0..2 {
            let mut workplace = places.take("i").unwrap();
            workplace.write(b"in ", 6).unwrap();
            workplace.write(b"mem", 6).unwrap();
            assert_eq!(workplace.held(), 6);
            workplace.write(b", on disk", 6).unwrap();
            workplace.finish().unwrap();
            assert_eq!((workplace.held(), contents(&workplace)), (0, b"in mem, on disk".to_vec()));
            places.give_back(workplace);
            assert_eq!(places.unused.len(), 1);
            // The link of a source in memory must not stand in a file's way, nor the other way round.
            let mut workplace = places.take("i").unwrap();
            workplace.write(b"in memory", 9).unwrap();
            workplace.finish().unwrap();
            assert_eq!(contents(&workplace), b"in memory");
            places.give_back(workplace);
        }
    }

    #[test]
    fn what_a_compiler_has_left_is_not_passed_on() {
        let mut places = workplaces();
        let workplace = places.take("i").unwrap();
        let path = workplace.path().to_owned();
        fs::write(path.join("left-over"), "").unwrap();
        places.give_back(workplace);
        assert!(places.unused.is_empty() && !path.exists());
    }

    #[test]
    fn little_is_kept_and_not_for_long() {
        let mut places = workplaces();
        let taken: Vec<Workplace> = (0..KEPT + 1).map(|_| places.take("i").unwrap()).collect();
        taken.into_iter().for_each(|workplace| places.give_back(workplace));
        assert_eq!(places.unused.len(), KEPT);
        let first = places.deadline().unwrap();
        places.expire(first - Duration::from_millis(1));
        assert_eq!(places.unused.len(), KEPT);
        places.expire(first + KEPT_TIME);
        assert_eq!((places.unused.len(), places.deadline()), (0, None));
    }
}
