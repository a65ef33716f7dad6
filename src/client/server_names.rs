//! The directories of stock's servers in the objects of pump mode. A server of our own maps them away; one of 3.4 overwrites
//! them with slashes where DWARF 4 has them (reference `pump.md` 4.6), and leaves those of DWARF 5, other ones for every job.
//! The same is done with those here: objects are the same from job to job, and a debugger finds the sources.

use crate::sys::file::find;

/// What the name of a job's directory begins with.
const START: &[u8] = b"/distccd_";
/// The length of such a name: the above and six letters and digits.
const LEN: usize = START.len() + 6;
/// The longest path that is looked for.
const LONGEST: usize = 4096;

/// Whether a directory of a job on a server is named.
pub fn are_in(object: &[u8]) -> bool {
    let mut rest = object;
    while let Some(at) = find(rest, START) {
        rest = &rest[at..];
        if is_name(rest.get(..LEN).unwrap_or_default()) && rest.get(LEN) == Some(&b'/') {
            return true;
        }
        rest = &rest[START.len()..];
    }
    false
}

/// The same for an object that comes in pieces.
#[derive(Debug, Default)]
pub struct Search {
    /// The last bytes, as many as a name that has begun can have.
    end: Vec<u8>,
    found: bool,
}

impl Search {
    /// Looks at the next piece.
    pub fn pass(&mut self, piece: &[u8]) {
        self.end.extend_from_slice(&piece[..piece.len().min(LEN)]);
        self.found = self.found || are_in(&self.end) || are_in(piece);
        let last = if piece.len() > LEN { piece } else { &self.end };
        self.end = last[last.len().saturating_sub(LEN)..].to_vec();
    }

    /// Whether a directory of a job on a server was named.
    pub fn found(&self) -> bool {
        self.found
    }
}

/// Overwrites the job's root with slashes, wherever it stands before more of a path: one is as good as many. The
/// compile's `directory` below it, which debug information has, tells what it is.
pub fn overwrite(object: &mut [u8], directory: &[u8]) {
    let Some(root) = root(object, directory) else { return };
    let mut done = 0;
    while let Some(at) = find(&object[done..], &root) {
        let (start, end) = (done + at, done + at + root.len());
        if object.get(end) == Some(&b'/') {
            object[start..end].fill(b'/');
        }
        done = end;
    }
}

/// What stands in front of the compile's directory where that ends a path.
fn root(object: &[u8], directory: &[u8]) -> Option<Vec<u8>> {
    let whole = [directory, b"\0"].concat();
    let mut done = 0;
    while let Some(at) = find(&object[done..], &whole) {
        let end = done + at;
        let before = &object[end.saturating_sub(LONGEST)..end];
        let start = before.iter().rposition(|byte| *byte < b' ').map_or(0, |control| control + 1);
        let root = &before[start..];
        if root.starts_with(b"/") && root.len().checked_sub(LEN).is_some_and(|at| is_name(&root[at..])) {
            return Some(root.to_vec());
        }
        done = end + 1;
    }
    None
}

/// Whether this is the name of a job's directory.
fn is_name(name: &[u8]) -> bool {
    name.len() == LEN && name.starts_with(START) && name[START.len()..].iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_directory_is_recognised() {
        assert!(are_in(b"x/distccd_ /tmp/distccd_aB3xyz/home/a.h"));
        for other in [&b""[..], b"/tmp/distccd_", b"/distccd_abcdef", b"/distccd_abc-ef/", b"distccd_abcdef/"]
        {
            assert!(!are_in(other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_servers_directory_is_recognised_in_pieces() {
        let text = b"x/distccd_ /distccd_aB3-yz/ /tmp/distccd_aB3xyz/home/a.h";
        for len in 1..text.len() {
            let found = |text: &[u8]| {
                let mut search = Search::default();
                text.chunks(len).for_each(|piece| search.pass(piece));
                search.found()
            };
            assert!(found(text) && !found(&text[..text.len() - 9]), "{len}");
        }
    }

    #[test]
    fn its_name_becomes_slashes_and_nothing_else_changes() {
        let text =
            b"\x7fELF /w\0\0/tmp/distccd_aB3xyz/w\0/tmp/distccd_aB3xyz/w/a.h\0/tmp/distccd_aB3xyz0/\0GNU C";
        let mut object = text.to_vec();
        overwrite(&mut object, b"/w");
        let slashes = "/".repeat("/tmp/distccd_aB3xyz".len());
        let expected = format!("\x7fELF /w\0\0{slashes}/w\0{slashes}/w/a.h\0/tmp/distccd_aB3xyz0/\0GNU C");
        assert_eq!(object, expected.as_bytes());
        for other in ["/v", "/w/a.h/", "", "/tmp"] {
            let mut object = text.to_vec();
            overwrite(&mut object, other.as_bytes());
            assert_eq!(object, text, "{other}");
        }
    }
}
