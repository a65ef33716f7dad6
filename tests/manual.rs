use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::util::*;

/// The long options and environment variables that a text names.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words
        .filter(|word| {
            word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
                || word.starts_with("DISTCC_")
                || word.starts_with("DISTCCD_")
        })
        .map(str::to_owned)
        .collect()
}

/// The manual names every option and variable that `--help` names.
#[test]
fn the_manual_pages_are_complete() {
    let workspace = Workspace::new("manual");
    for name in PERSONALITIES {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/man/{name}.1"));
        // `.Fl -name` is mdoc's way to write `--name`.
        let page = fs::read_to_string(page).unwrap().replace("Fl -", "--").replace("| -", "--");
        let help = succeed(workspace.command(workspace.path("bin").join(name)).arg("--help")).stdout;
        let (page, help) = (names(&page), names(&String::from_utf8(help).unwrap()));
        let missing: Vec<_> = help.difference(&page).collect();
        assert_eq!(missing, [""; 0], "{name}(1) lacks what --help names");
    }
}

/// Every option that the manual of the daemon names is understood.
#[test]
fn the_daemon_knows_the_options_of_its_manual() {
    let workspace = Workspace::new("options");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man/distccd.1");
    let page = fs::read_to_string(page).unwrap().replace("Fl -", "--");
    for option in names(&page).into_iter().filter(|name| name.starts_with("--")) {
        // What follows is unknown, so it does not start.
        let output =
            run(workspace.command(workspace.path("bin/distccd")).args([&option, "1", "--no-such-option"]));
        assert!(
            !stderr(&output).contains(&format!("{option}: unknown option")),
            "{option}: {}",
            explain(&output)
        );
    }
}
