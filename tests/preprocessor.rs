//! The engine's expander and evaluator beside `gcc -E`: generated macros and conditions, thousands in one run of the
//! compiler.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::process::Command;

use distcc::include::lone::{Outcome, outcomes};

use crate::util::*;

/// Lines compared: each a condition or an expansion, and each with macros changed before it.
fn count() -> u64 {
    std::env::var("DISTCC_PREPROCESSOR_LINES").map_or(4000, |count| count.parse().unwrap())
}

#[test]
fn expansions_and_conditions_are_gccs() {
    let workspace = Workspace::new("preprocessor");
    let mut compared = HashMap::from([("text", 0), ("conditions", 0)]);
    let mut undecided = 0;
    for seed in 0..count().div_ceil(2000) {
        let mut random = Random::new(seed);
        // For gcc every condition has two branches, which say which of them it is.
        let (mut ours, mut theirs) = (String::new(), String::new());
        let mut places = Vec::new();
        for at in 0..2000 {
            let mut change = String::new();
            for _ in 0..random.below(3) {
                change += &random.definition();
            }
            ours += &change;
            theirs += &change;
            places.push(theirs.lines().count() + 1);
            if random.below(2) == 0 {
                let line = format!("Q{at}Q {}\n", random.calls(3));
                ours += &line;
                theirs += &line;
            } else {
                let condition = random.condition(4);
                writeln!(ours, "#if {condition}").unwrap();
                writeln!(theirs, "#if {condition}\nQ{at}Q 1\n#else\nQ{at}Q 0\n#endif").unwrap();
            }
        }
        let file = workspace.write("all.c", &theirs);
        let output = run(Command::new("gcc")
            .args(["-E", "-P", "-undef", "-w", "-std=gnu17", "-fmax-errors=0"])
            .arg("-ftrack-macro-expansion=0")
            .arg("-nostdinc")
            .arg(&file));
        let complaints: HashSet<usize> = String::from_utf8_lossy(&output.stderr)
            .lines()
            .filter_map(|line| line.split("all.c:").nth(1)?.split(':').next()?.parse().ok())
            .collect();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: HashMap<usize, &str> = text
            .split("\nQ")
            .filter_map(|part| part.trim_start_matches('Q').split_once('Q'))
            .filter_map(|(at, rest)| Some((at.parse().ok()?, rest)))
            .collect();
        let mut different: Vec<String> = Vec::new();
        let mine = outcomes(ours.as_bytes());
        assert_eq!(mine.len(), 2000, "seed {seed}");
        for (at, outcome) in mine.iter().enumerate() {
            // What the compiler calls an error has no result.
            if complaints.contains(&places[at]) {
                continue;
            }
            let Some(theirs) = said.get(&at) else { panic!("seed {seed}, {at}: gcc says nothing") };
            let line = ours.lines().find(|line| line.starts_with(&format!("Q{at}Q ")));
            match outcome {
                Outcome::Text(text) => {
                    let text = String::from_utf8_lossy(text);
                    let text = text.split_once('Q').and_then(|(_, rest)| rest.split_once('Q')).unwrap().1;
                    if without_spaces(text) != without_spaces(theirs) {
                        let place = places[at];
                        different
                            .push(format!("line {place}: {line:?}\nours   {text}\ntheirs {}", theirs.trim()));
                    }
                    *compared.get_mut("text").unwrap() += 1;
                }
                Outcome::Condition(Some(truth)) => {
                    let place = places[at];
                    if theirs.trim() != if *truth { "1" } else { "0" } {
                        different.push(format!("line {place}: {}", line_of(&file, place)));
                    }
                    *compared.get_mut("conditions").unwrap() += 1;
                }
                Outcome::Condition(None) | Outcome::Undecided => undecided += 1,
            }
        }
        different.sort_by_key(String::len);
        assert!(
            different.is_empty(),
            "seed {seed}: {} differ; see {}\n{}",
            different.len(),
            file.display(),
            different[..different.len().min(3)].join("\n")
        );
    }
    println!("{compared:?} compared, {undecided} not decided");
    let all: u64 = compared.values().sum();
    assert!(compared.values().all(|some| some * 8 > count()), "{compared:?}");
    assert!(undecided * 50 < all, "{undecided} not decided");
}

fn line_of(file: &std::path::Path, place: usize) -> String {
    std::fs::read_to_string(file).unwrap().lines().nth(place - 1).unwrap_or_default().to_owned()
}

/// The tokens alone: gcc prints more spaces where tokens would run together. Within strings they count.
fn without_spaces(text: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut escaped = false;
    for char in text.chars() {
        match quote {
            None if char.is_whitespace() => continue,
            None if char == '"' || char == '\'' => quote = Some(char),
            Some(open) if char == open && !escaped => quote = None,
            _ => {}
        }
        escaped = quote.is_some() && char == '\\' && !escaped;
        plain.push(char);
    }
    plain
}

impl Random {
    fn space(&mut self) -> String {
        self.pick(&["", "", " ", " /* c */ ", "\t"])
    }

    /// A macro, defined anew. `O…` are like objects, `F…`, `G…` (variable) and `H…` (two) like functions.
    fn definition(&mut self) -> String {
        let which = self.below(4);
        let (name, parameters) = match self.below(5) {
            0 | 1 => (format!("O{which}"), ""),
            2 => (format!("F{which}"), "(a)"),
            3 => (format!("G{which}"), "(a, ...)"),
            _ => (format!("H{which}"), "(a, b)"),
        };
        let names: &[&str] = match parameters {
            "" => &["x"],
            "(a)" => &["a"],
            "(a, ...)" => &["a", "__VA_ARGS__"],
            _ => &["a", "b"],
        };
        let mut body = String::new();
        for _ in 0..self.below(6) {
            let operand = match self.below(10) {
                0 if !parameters.is_empty() => format!("#{}", self.pick(names)),
                1 => format!("{} ## {}", self.pick(&["x", "O", "F", "1", "y"]), self.pick(names)),
                2 => format!("{}##{}", self.pick(names), self.pick(&["1", "2", "z"])),
                3 if parameters == "(a, ...)" => {
                    self.pick(&["f(a , ## __VA_ARGS__)", "__VA_OPT__(a ## 1) ", "__VA_OPT__(, x)"])
                }
                4..7 => self.pick(names),
                _ => self.call(1),
            };
            body += &format!("{}{operand}{}", self.space(), self.pick(&[" ", ",", "+", " - ", "<"]));
        }
        format!("#undef {name}\n#define {name}{parameters} {}\n", body.trim())
    }

    fn calls(&mut self, depth: u32) -> String {
        let mut text = String::new();
        for _ in 0..=self.below(3) {
            text += &format!("{} ", self.call(depth));
        }
        text
    }

    fn call(&mut self, depth: u32) -> String {
        let which = self.below(4);
        let argument = |random: &mut Random| {
            if depth == 0 {
                random.pick(&["1", "x", "O1", "", "\"s \\\"\"", "(2, 3)"])
            } else {
                random.call(depth - 1)
            }
        };
        match self.below(9) {
            0 => {
                self.pick(&["1", "0x2f", "x", "y z", "'c'", "\"s \\\\ t\"", "->", "(x, y)", "...", "L\"w\""])
            }
            1 | 2 => format!("O{which}"),
            3 => format!("F{which}"),
            4 | 5 => format!("F{which}{}({})", self.space(), argument(self)),
            6 => format!("H{which}({},{}{})", argument(self), self.space(), argument(self)),
            7 => format!("G{which}({}{})", argument(self), self.pick(&["", ",", ", 1", ", x, (y, z)"])),
            _ => format!("F{which}(F{which})({})", argument(self)),
        }
    }

    fn condition(&mut self, depth: u32) -> String {
        if depth == 0 {
            let which = self.below(4);
            return match self.below(6) {
                0 => format!("defined O{which}"),
                1 => format!("defined(F{which})"),
                2 => format!("(0 O{which} + 1)"),
                _ => self.pick(&[
                    "0",
                    "1",
                    "2",
                    "-1",
                    "3u",
                    "0x7fffffffffffffff",
                    "18446744073709551615u",
                    "010",
                    "'a'",
                    "'\\n'",
                    "1LL",
                    "~0",
                    "0b101",
                    "63",
                    "64",
                    "name",
                ]),
            };
        }
        let below = depth - 1;
        match self.below(9) {
            0 => format!("!{}", self.condition(below)),
            1 => format!("({}{})", self.space(), self.condition(below)),
            2 => {
                format!("({} ? {} : {})", self.condition(below), self.condition(below), self.condition(below))
            }
            3 => format!("{}{}", self.pick(&["-", "+", "~", "- -"]), self.condition(below)),
            _ => {
                let operators = [
                    "+", "-", "*", "/", "%", "<<", ">>", "<", ">", "<=", ">=", "==", "!=", "&", "|", "^",
                    "&&", "||",
                ];
                format!("{} {} {}", self.condition(below), self.pick(&operators), self.condition(below))
            }
        }
    }
}
