//! A list of commands that may run, one full command per line (`DISTCC_CMDLIST`), and the matching of a client's
//! compiler against it.
//!
//! A line is found by its last words between slashes, one unless `DISTCC_CMDLIST_NUMWORDS` says more; the whole line is
//! then run in place of what the client named. Source: reference `daemon.md` section 9.2.

/// The lines with the part that is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandList {
    commands: Vec<Vec<u8>>,
    words: usize,
}

impl CommandList {
    /// From the file's bytes. Empty lines are left out.
    pub fn parse(text: &[u8], words: usize) -> CommandList {
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        CommandList { commands: lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect(), words }
    }

    /// The first command that ends as `wanted` does.
    pub fn find(&self, wanted: &[u8]) -> Option<&[u8]> {
        let key = last_words(wanted, self.words);
        self.commands.iter().map(Vec::as_slice).find(|command| last_words(command, self.words) == key)
    }

    /// All commands.
    pub fn commands(&self) -> impl Iterator<Item = &[u8]> {
        self.commands.iter().map(Vec::as_slice)
    }
}

/// What follows the last `count` slashes; all of it, if there are fewer.
fn last_words(command: &[u8], count: usize) -> &[u8] {
    let slashes = command.iter().enumerate().rev().filter(|(at, byte)| **byte == b'/' && *at > 0);
    match slashes.map(|(at, _)| at).nth(count.saturating_sub(1)) {
        Some(at) => &command[at + 1..],
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_decide() {
        let text = b"/usr/bin/gcc\n\n/opt/arm/bin/gcc\r\ncc\n/g++\n";
        let list = |words| CommandList::parse(text, words);
        let find =
            |words, wanted: &str| list(words).find(wanted.as_bytes()).map(|it| it.escape_ascii().to_string());
        assert_eq!(find(1, "gcc").as_deref(), Some("/usr/bin/gcc"));
        assert_eq!(find(1, "/a/b/gcc").as_deref(), Some("/usr/bin/gcc"));
        assert_eq!(find(1, "cc").as_deref(), Some("cc"));
        assert_eq!(find(1, "clang"), None);
        // As in stock, a slash at the start does not count.
        assert_eq!(find(1, "g++"), None);
        assert_eq!(find(1, "/g++").as_deref(), Some("/g++"));
        assert_eq!(find(3, "/x/arm/bin/gcc").as_deref(), Some("/opt/arm/bin/gcc"));
        assert_eq!(find(3, "gcc"), None);
        assert_eq!(list(1).commands().count(), 4);
    }
}
