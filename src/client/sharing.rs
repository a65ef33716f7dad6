//! One connection of OpenSSH for all jobs on a host, so that only the first pays for the handshake.
//!
//! ssh takes the first value it finds for a setting. So it is given a configuration file that includes the user's and
//! the system's and ends with ours: whoever has chosen otherwise, in a file or with words in `DISTCC_SSH`, keeps that.
//! The file is in a private directory beside the locks, as are the sockets of the connections. Its first line tells for
//! which program it was made, so the program is asked for its version only once.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::compiler::{self, Start};
use crate::output::{self, Manner};
use crate::scratch;
use crate::sys::file::{self, Contents};
use crate::sys::process::{self, WaitStatus};
use crate::sys::user::effective_user;
use crate::topdir::TopDir;
use crate::waiting::{Interrupted, retry};

/// The longest name of the directory: a socket's path has room for 107 bytes, of which OpenSSH takes a slash, 40 hex
/// digits (`%C`) and, while it makes the socket, 17 more.
const LONGEST_DIRECTORY: usize = 107 - 1 - 40 - 17;

/// `Include` came with this version; the rest is older.
const FIRST_VERSION: (u32, u32) = (7, 3);

/// What follows the user's and the system's settings. Idle connections close after ten minutes.
const SETTINGS: &str = "\
Include ~/.ssh/config
Include /etc/ssh/ssh_config
Host *
ControlMaster auto
ControlPersist 600
ConnectTimeout 10
";

/// The configuration file for `program`, the ssh that gets `words` from the user; `None` where sharing is not for us to
/// switch on, or not possible.
pub fn config(program: &Path, words: &[OsString]) -> Result<Option<PathBuf>, Interrupted> {
    let is_called_ssh =
        program.canonicalize().is_ok_and(|path| path.file_name().is_some_and(|it| it == "ssh"));
    if !is_called_ssh || words.iter().any(|word| decides(word.as_bytes())) {
        return Ok(None);
    }
    let (Some(directory), Some(identity)) = (directory(), identity(program)) else { return Ok(None) };
    let path = directory.join("config");
    let first_line = format!("# {identity}\n");
    if let Ok(text) = fs::read(&path) {
        if let Some(rest) = text.strip_prefix(first_line.as_bytes()) {
            return Ok((!rest.is_empty()).then_some(path));
        }
    }
    let settings = match shares(program)? {
        true => {
            format!("{SETTINGS}ControlPath \"{}/%C\"\n", directory.display().to_string().replace('%', "%%"))
        }
        false => String::new(),
    };
    let written = output::write(&path, format!("{first_line}{settings}").as_bytes(), Manner::Replacing);
    Ok((written.is_ok() && !settings.is_empty()).then_some(path))
}

/// Whether a word of the user's speaks of configuration files or of sharing.
fn decides(word: &[u8]) -> bool {
    matches!(word, [b'-', b'F' | b'S' | b'M' | b'O', ..])
        || word.to_ascii_lowercase().windows(7).any(|part| part == b"control")
}

/// Ours alone, and short enough.
fn directory() -> Option<PathBuf> {
    let directory = TopDir::find().ok()?.path().join("ssh");
    let name = directory.as_os_str().as_bytes();
    if name.len() > LONGEST_DIRECTORY || name.contains(&b'"') || !directory.is_absolute() {
        log::info!("no sharing of ssh connections: {} is too long for sockets", directory.display());
        return None;
    }
    let is_private = |metadata: fs::Metadata| {
        metadata.is_dir() && metadata.uid() == effective_user() && metadata.mode() & 0o077 == 0
    };
    if fs::symlink_metadata(&directory).is_err() {
        let _ = DirBuilder::new().mode(0o700).recursive(true).create(&directory);
    }
    fs::symlink_metadata(&directory).is_ok_and(is_private).then_some(directory)
}

/// Changes when the program does.
fn identity(program: &Path) -> Option<String> {
    let file = fs::metadata(program).ok()?;
    let mut text = String::new();
    let _ =
        write!(text, "{} {}.{} {} {}", program.display(), file.dev(), file.ino(), file.size(), file.mtime());
    (!text.contains('\n')).then_some(text)
}

/// Asks the program.
fn shares(program: &Path) -> Result<bool, Interrupted> {
    Ok(version_text(program)?
        .is_ok_and(|text| version(&text).is_some_and(|version| version >= FIRST_VERSION)))
}

fn version_text(program: &Path) -> Result<io::Result<String>, Interrupted> {
    let ask = || -> io::Result<_> {
        let null = file::null()?;
        let answer = scratch::anonymous_file(c"distcc-ssh-version")?;
        let start = Start {
            stdio: [Some(null.as_fd()), Some(answer.as_fd()), Some(answer.as_fd())],
            bound_to_us: true,
            ..Start::default()
        };
        let argv = [program.as_os_str().to_owned(), "-V".into()];
        let pid = compiler::spawn(program, &argv, &compiler::environment(&[]), &start)?;
        Ok((pid, answer))
    };
    let (pid, mut answer) = match ask() {
        Ok(asked) => asked,
        Err(e) => return Ok(Err(e)),
    };
    let ended = retry(|| process::wait(pid))?;
    Ok(ended.and_then(|status: WaitStatus| match status.success() {
        true => Ok(String::from_utf8_lossy(&Contents::of(&mut answer)?).into_owned()),
        false => Err(io::Error::other("it failed")),
    }))
}

/// `OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.17` is 9.2.
fn version(text: &str) -> Option<(u32, u32)> {
    let rest = text.strip_prefix("OpenSSH_")?;
    let (major, rest) = rest.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..end].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17"), Some((9, 2)));
        assert_eq!(version("OpenSSH_10.0p2"), Some((10, 0)));
        assert_eq!(version("Dropbear v2022.83"), None);
    }

    #[test]
    fn the_users_own_words_decide() {
        for word in ["-F", "-Fx", "-S", "-M", "-oControlMaster=no", "controlpath=/x", "-O"] {
            assert!(decides(word.as_bytes()), "{word}");
        }
        for word in ["-p", "2222", "-i", "key", "-oStrictHostKeyChecking=no", "-v"] {
            assert!(!decides(word.as_bytes()), "{word}");
        }
    }
}
