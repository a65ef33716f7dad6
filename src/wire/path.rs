//! Paths of a version 3 request: every one is checked where it comes off the wire, and is then a type that
//! cannot lead out of the job's root.
//!
//! The client's `/` stands for the root. A name never contains `..`, and a link leads into the root by its
//! text alone: `..` may only stand at its start, no more often than there are directories above the link. The
//! one exception is stock's link to a directory of system headers, `../` many times and then the link's own
//! path with an `include…` in it, which means that very directory of the server (reference `pump.md` section 2). Nobody has to follow a
//! link to find this out, and nothing is ever written through one (`daemon::tree`).

use super::{Error, Token, limits};

/// A path from the root: names joined by single slashes, none of them `.` or `..`, without a slash in front.
/// Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rooted(Vec<u8>);

impl Rooted {
    /// Understands the client's absolute path `path`; blank names (`//`) and `.` are left out.
    ///
    /// # Errors
    /// [`Error::BadPath`] with `token`.
    pub fn parse(token: Token, path: &[u8]) -> Result<Rooted, Error> {
        let bad = |why| Err(Error::BadPath { token, path: path.to_vec(), why });
        if path.first() != Some(&b'/') {
            return bad("does not begin at the root");
        }
        if path.contains(&0) {
            return bad("contains a NUL byte");
        }
        if names(path).any(|name| name == b"..") {
            return bad("contains \"..\"");
        }
        if names(path).count() > limits::DEPTH {
            return bad("passes through too many directories");
        }
        if names(path).any(|name| name.len() > LONGEST_NAME) {
            return bad("contains a name that no file system takes");
        }
        Ok(Rooted(names(path).collect::<Vec<_>>().join(&b'/')))
    }

    /// The same for something that is not the root.
    pub(super) fn parse_entry(token: Token, path: &[u8]) -> Result<Rooted, Error> {
        let is_directory = path.ends_with(b"/") || path.ends_with(b"/.");
        match Rooted::parse(token, path)? {
            rooted if rooted.0.is_empty() || is_directory => {
                Err(Error::BadPath { token, path: path.to_vec(), why: "names no file" })
            }
            rooted => Ok(rooted),
        }
    }

    /// The bytes, to be appended to the root's path and a slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many directories below the root.
    pub fn depth(&self) -> usize {
        names(&self.0).count()
    }

    /// The directory and the name in it.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[], &self.0),
        }
    }
}

/// `NAME_MAX` of Linux.
const LONGEST_NAME: usize = 255;

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To this path of the root.
    Absolute(Rooted),
    /// From the link's directory by this text, which stays in the root.
    Relative(Vec<u8>),
    /// To the server's own directory of the link's own path.
    System,
}

impl Target {
    /// Understands what the link at `link` leads to.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn parse(link: &Rooted, target: &[u8]) -> Result<Target, Error> {
        let bad = |why| Err(Error::BadPath { token: Token::Link, path: target.to_vec(), why });
        if target.first() == Some(&b'/') {
            return Rooted::parse(Token::Link, target).map(Target::Absolute);
        }
        if target.is_empty() {
            return bad("is empty");
        }
        if target.contains(&0) {
            return bad("contains a NUL byte");
        }
        let up = names(target).take_while(|name| *name == b"..").count();
        let down: Vec<&[u8]> = names(target).skip(up).collect();
        let depth = link.depth();
        if up > depth && down.iter().copied().eq(names(&link.0)) {
            // Others may hold programs, which nothing in the root is.
            let has_headers = down.iter().any(|name| name.starts_with(b"include"));
            return if has_headers { Ok(Target::System) } else { bad("leads to no directory of headers") };
        }
        if up >= depth {
            return bad("leads out of the job's directory");
        }
        if down.contains(&&b".."[..]) {
            return bad("contains \"..\" behind a name");
        }
        Ok(Target::Relative(target.to_vec()))
    }
}

/// The parts of a path that mean something.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooted(path: &str) -> Rooted {
        Rooted::parse(Token::Name, path.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_becomes_plain() {
        assert_eq!(rooted("/w//inc/./a.h").as_bytes(), b"w/inc/a.h");
        assert_eq!(rooted("/").as_bytes(), b"");
        assert_eq!(rooted("/a").split(), (&b""[..], &b"a"[..]));
        assert_eq!(rooted("/a/b/c").split(), (&b"a/b"[..], &b"c"[..]));
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_none() {
        let deep = "/x".repeat(limits::DEPTH + 1);
        let long = format!("/{}", "n".repeat(256));
        for bad in ["", "a", "../a", "/a/../b", "/..", "/a/..", "/a\0b", deep.as_str(), long.as_str()] {
            assert!(
                matches!(
                    Rooted::parse(Token::Cdir, bad.as_bytes()),
                    Err(Error::BadPath { token: Token::Cdir, .. })
                ),
                "{bad}"
            );
        }
        assert!(Rooted::parse(Token::Cdir, "/x".repeat(limits::DEPTH).as_bytes()).is_ok());
        // A name like `...` is a name.
        assert_eq!(rooted("/.../..a").as_bytes(), b".../..a");
        for bad in ["/", "/a/", "/a/.", "//"] {
            assert!(Rooted::parse_entry(Token::Name, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_stay_inside_or_are_those_of_system_directories() {
        let target = |link: &str, to: &str| Target::parse(&rooted(link), to.as_bytes()).ok();
        let relative = |to: &str| Some(Target::Relative(to.as_bytes().to_vec()));
        assert_eq!(target("/w/inc", "../i"), relative("../i"));
        assert_eq!(target("/w/inc", "x/./y"), relative("x/./y"));
        assert_eq!(target("/w/inc", "/w/real/inc"), Some(Target::Absolute(rooted("/w/real/inc"))));
        let ups = "../".repeat(22);
        assert_eq!(target("/usr/include", &format!("{ups}usr/include")), Some(Target::System));
        for (link, to) in [
            ("/w/inc", "../../i"),
            ("/inc", ".."),
            ("/w/inc", "a/../../b"),
            ("/w/inc", "/a/../../b"),
            ("/w/inc", ""),
            ("/w/inc", "a\0"),
            ("/usr/include", &format!("{ups}usr")),
            ("/usr/bin", &format!("{ups}usr/bin")),
            ("/usr/include", &format!("{ups}etc")),
            ("/usr/include", &format!("{ups}usr/include/../../etc")),
            // Not enough to leave, and not inside either.
            ("/usr/include", "../../usr/include"),
        ] {
            assert_eq!(target(link, to), None, "{link} -> {to}");
        }
    }
}
