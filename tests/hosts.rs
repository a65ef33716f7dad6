use std::fs;
use std::path::Path;

use crate::util::*;

/// One line of `tests/data/hosts/show.txt`.
struct Case {
    list: String,
    /// What ours prints, if not what stock prints, and why.
    difference: Option<(String, String)>,
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hosts/show.txt");
    let text = fs::read_to_string(path).unwrap();
    let unescaped = |text: &str| {
        text.replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace("\\v", "\x0b")
            .replace("\\f", "\x0c")
            .replace("\\r", "\r")
    };
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(" => ").collect();
            let difference = match parts[1..] {
                [] => None,
                [ours, why] => Some((unescaped(ours), why.to_owned())),
                _ => panic!("{line}"),
            };
            Case { list: unescaped(parts[0]), difference }
        })
        .collect()
}

/// The number of jobs, and the hosts.
fn shown(workspace: &Workspace, kind: Kind, list: &str) -> String {
    let hosts = run(workspace.client(kind, list).arg("--show-hosts")).stdout;
    let jobs = run(workspace.client(kind, list).arg("-j")).stdout;
    let words: Vec<String> = [jobs, hosts]
        .iter()
        .flat_map(|text| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    words.join(" ")
}

/// Every list of the table means to us what it means to stock, or the table says why not.
#[test]
fn lists_mean_what_they_mean_to_stock() {
    let workspace = Workspace::new("hosts");
    if stock("distcc").is_none() {
        return;
    }
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { list, difference } in &cases {
        let (theirs, ours) = (shown(&workspace, Kind::Stock, list), shown(&workspace, Kind::Ours, list));
        let is_right = match difference {
            None => ours == theirs,
            Some((expected, why)) => ours == *expected && ours != theirs && !why.is_empty(),
        };
        if !is_right {
            wrong.push(format!("{list:?}: stock {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A bad entry is named with its file, its line and what would be right; the good ones are used.
#[test]
fn a_bad_entry_is_named_and_left_out() {
    let workspace = Workspace::new("hosts-bad");
    let list =
        "good/2\n# note\nbad:port fine:99999 ::1\nother,auth  last/0 x,nocpp @-oProxyCommand=x a,cpp\n";
    fs::write(workspace.path("top/hosts"), list).unwrap();
    let mut command = workspace.distcc("");
    let output = succeed(command.env_remove("DISTCC_HOSTS").arg("--show-hosts"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good/2\n");
    let lines = own_lines(&output);
    let file = workspace.path("top/hosts").display().to_string();
    for (line, word, right) in [
        (3, "bad:port", "1 to 65535"),
        (3, "fine:99999", "1 to 65535"),
        (3, "::1", "[::1]"),
        (4, "other,auth", "use ssh: @HOST"),
        (4, "last/0", "from 1 to"),
        (4, "x,nocpp", "there are lzo, cpp, directives and down"),
        (4, "@-oProxyCommand=x", "cannot begin with -"),
        (4, "a,cpp", ",cpp,lzo"),
    ] {
        let place = format!("{file}, line {line}: \"{word}\"");
        let found = lines.iter().any(|text| text.contains(&place) && text.contains(right));
        assert!(found, "{place} ({right}) is missing in {lines:#?}");
    }
    assert_eq!(lines.len(), 8);
}

/// The first place that exists is the only one.
#[test]
fn the_first_source_counts() {
    let workspace = Workspace::new("hosts-source");
    fs::create_dir_all(workspace.path("home/.distcc")).unwrap();
    fs::write(workspace.path("home/.distcc/hosts"), "from-home\n").unwrap();
    fs::write(workspace.path("top/hosts"), "from-top\n").unwrap();
    let shown = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = workspace.distcc("from-variable");
        change(&mut command);
        String::from_utf8(succeed(command.arg("--show-hosts")).stdout).unwrap()
    };
    assert_eq!(shown(&|_| ()), "from-variable\n");
    assert_eq!(shown(&|command| _ = command.env("DISTCC_HOSTS", "")), "", "set, so it counts");
    assert_eq!(shown(&|command| _ = command.env_remove("DISTCC_HOSTS")), "from-top\n");
    assert_eq!(
        shown(&|command| _ = command.env_remove("DISTCC_HOSTS").env_remove("DISTCC_DIR")),
        "from-home\n"
    );
    fs::write(workspace.path("top/hosts"), "x".repeat((1 << 20) + 1)).unwrap();
    let output = succeed(workspace.distcc("").env_remove("DISTCC_HOSTS").arg("--show-hosts"));
    assert!(stderr(&output).contains("larger than 1 MiB"), "{}", explain(&output));
}

/// `--randomize` shows all hosts in some order, and not always in the same.
#[test]
fn randomized_lists_are_shown_in_the_order_of_the_moment() {
    let workspace = Workspace::new("hosts-random");
    let show = || {
        let output = succeed(workspace.distcc("--randomize a b c d e f g h").arg("--show-hosts"));
        String::from_utf8(output.stdout).unwrap()
    };
    let orders: std::collections::BTreeSet<String> = (0..8).map(|_| show()).collect();
    assert!(orders.len() > 1);
    for order in orders {
        let mut hosts: Vec<&str> = order.lines().collect();
        hosts.sort_unstable();
        assert_eq!(hosts, ["a", "b", "c", "d", "e", "f", "g", "h"]);
    }
}
