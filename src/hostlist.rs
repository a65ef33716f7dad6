//! Where the host list comes from: the first of `DISTCC_HOSTS`, the user's file, the system's file.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::hosts::offer::Compiler;
use crate::hosts::{self, HostList};
use crate::topdir::TopDir;

/// The list for all users of a machine.
const SYSTEM_FILE: &str = "/etc/distcc/hosts";

/// A larger file is not a host list (same limit as stock).
const MAX_FILE: u64 = 1 << 20;

/// A host list and where it was found, for messages.
#[derive(Debug)]
pub struct Found {
    /// The parsed list; perhaps without a single host.
    pub list: HostList,
    /// `$DISTCC_HOSTS` or a file's name.
    pub source: String,
    /// Why there are fewer hosts than one may expect.
    pub lack: Option<String>,
}

/// Finds and parses the list. `top` is where the user's own file is, if there is such a place.
///
/// # Errors
/// A sentence that says where was looked, or why the file found cannot be used.
pub fn find(top: Option<&TopDir>) -> Result<Found, String> {
    if let Some(text) = env::var_os("DISTCC_HOSTS") {
        // A byte that is no UTF-8 can only be in a comment or spoil its own word.
        return Ok(Found {
            list: hosts::parse(&text.to_string_lossy()),
            source: "$DISTCC_HOSTS".to_owned(),
            lack: None,
        });
    }
    let user_file = top.map(TopDir::hosts_file);
    for path in user_file.iter().map(PathBuf::as_path).chain([Path::new(SYSTEM_FILE)]) {
        let Ok(file) = File::open(path) else { continue };
        let mut text = Vec::new();
        file.take(MAX_FILE + 1)
            .read_to_end(&mut text)
            .map_err(|e| format!("cannot read the host list {}: {e}", path.display()))?;
        if text.len() as u64 > MAX_FILE {
            return Err(format!("the host list {} is larger than 1 MiB", path.display()));
        }
        return Ok(Found {
            list: hosts::parse(&String::from_utf8_lossy(&text)),
            source: path.display().to_string(),
            lack: None,
        });
    }
    let user_file = user_file.map(|path| format!(" nor {}", path.display())).unwrap_or_default();
    Err(format!("there is no host list: neither $DISTCC_HOSTS{user_file} nor {SYSTEM_FILE} exists"))
}

impl Found {
    /// Puts the servers that announce themselves into the list, where it has a `+zeroconf`. May wait, for a second at most,
    /// if nobody has looked for them lately.
    #[cfg(feature = "zeroconf")]
    pub fn add_announced(&mut self, top: Option<&TopDir>) {
        if self.list.announced.is_empty() {
            return;
        }
        let servers = top
            .ok_or_else(|| "there is no place for what zeroconf finds: set DISTCC_DIR or HOME".to_owned())
            .and_then(crate::zeroconf::background::servers);
        let servers = match servers {
            Ok(servers) if servers.is_empty() => {
                self.lack = Some("no server announces itself here (zeroconf)".to_owned());
                return;
            }
            Ok(servers) => servers,
            Err(reason) => {
                self.lack = Some(reason);
                return;
            }
        };
        for announced in std::mem::take(&mut self.list.announced).iter().rev() {
            let behind = self.list.hosts.split_off(announced.at);
            for it in &servers {
                self.list.hosts.push(announced.host(&it.address.host, it.address.port, &it.offer));
            }
            self.list.hosts.extend(behind);
        }
    }

    /// The parser leaves no `+zeroconf` in the list.
    #[cfg(not(feature = "zeroconf"))]
    pub fn add_announced(&mut self, _top: Option<&TopDir>) {}

    /// Leaves out the hosts that say that they lack this compiler.
    pub fn keep_only_with(&mut self, compiler: &Compiler) {
        let before = self.list.hosts.len();
        self.list.hosts.retain(|host| host.offer.as_ref().is_none_or(|offer| offer.serves(compiler)));
        let lacking = before - self.list.hosts.len();
        if lacking > 0 {
            let Compiler { name, version, machine } = compiler;
            self.lack =
                Some(format!("{lacking} found by zeroconf do not have {name} {version} for {machine}"));
        }
    }
}

/// Another order, for `--randomize`. Not for secrets: only spreads the load.
pub fn shuffle(hosts: &mut [hosts::Host]) {
    use std::hash::{BuildHasher, RandomState};

    let mut random = RandomState::new().hash_one(std::process::id()) | 1;
    for at in (1..hosts.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        hosts.swap(at, random as usize % (at + 1));
    }
}
