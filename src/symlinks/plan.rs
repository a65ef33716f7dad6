//! What has to change in a directory of links. Values in, values out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::sorted_map::SortedMap;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make this link, perhaps in place of one of ours.
    Add(OsString, PathBuf),
    /// Remove a link of ours.
    Remove(OsString),
    /// The name of a wanted link belongs to something that is not ours.
    Occupied(OsString),
}

/// The steps from what is `there` (links with their targets) to what is `wanted`. Of what is there, only links that
/// `is_ours` says yes to are touched.
pub fn plan(
    wanted: &SortedMap<OsString, PathBuf>,
    there: &SortedMap<OsString, Option<PathBuf>>,
    is_ours: impl Fn(&Path) -> bool,
) -> Vec<Change> {
    let ours = |target: &Option<PathBuf>| target.as_deref().is_some_and(&is_ours);
    let mut changes = Vec::new();
    for (name, target) in there.iter() {
        if ours(target) && !wanted.contains_key(name) {
            changes.push(Change::Remove(name.clone()));
        }
    }
    for (name, target) in wanted.iter() {
        changes.push(match there.get(name) {
            Some(Some(old)) if old == target => continue,
            Some(old) if !ours(old) => Change::Occupied(name.clone()),
            _ => Change::Add(name.clone(), target.clone()),
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_links_are_touched() {
        let link = |target: &str| Some(PathBuf::from(target));
        let there = SortedMap::from_iter([
            ("cc".into(), link("../../bin/distcc")),
            ("gcc".into(), link("/old/distcc")),
            ("gcc-4".into(), link("../../bin/distcc")),
            ("g++".into(), link("/usr/bin/ccache")),
            ("README".into(), None),
            ("other".into(), link("elsewhere")),
        ]);
        let wanted = ["c++", "cc", "gcc", "g++"].map(|name| (name.into(), "../../bin/distcc".into()));
        let is_ours = |target: &Path| target.ends_with("distcc");
        assert_eq!(
            plan(&wanted.into_iter().collect(), &there, is_ours),
            [
                Change::Remove("gcc-4".into()),
                Change::Add("c++".into(), "../../bin/distcc".into()),
                Change::Occupied("g++".into()),
                Change::Add("gcc".into(), "../../bin/distcc".into()),
            ]
        );
    }
}
