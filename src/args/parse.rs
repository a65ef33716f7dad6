//! Words to options and operands, by the table: the step that the client's scan and the server's
//! check have in common.

use super::options::{self, Row, Value};

/// One option or operand, and the words it takes up.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Where its first word stands.
    pub at: usize,
    /// How many words it has: two if its value stands apart.
    pub words: usize,
    /// Its first word.
    pub word: &'a [u8],
    pub what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Operand,
    /// A row of the table and the option's value, empty if it has none.
    Option(Row, &'a [u8]),
    /// An option at the end of the line that wants a value.
    ValueMissing,
    /// A word with a `-` that the table does not know.
    Unknown,
    /// A word that may not be what it seems, and why.
    Distrusted(&'static str),
}

/// Takes the words behind the compiler apart.
pub fn items<'a>(words: &'a [&'a [u8]]) -> impl Iterator<Item = Item<'a>> {
    let mut at = 1;
    std::iter::from_fn(move || {
        let word = *words.get(at)?;
        let (words, what) = take_one(word, words.get(at + 1).copied());
        let item = Item { at, words, word, what };
        at += words;
        Some(item)
    })
}

fn take_one<'a>(word: &'a [u8], next: Option<&'a [u8]>) -> (usize, What<'a>) {
    if word.starts_with(b"@") {
        return (1, What::Distrusted("stands for the words in a file"));
    }
    if !word.starts_with(b"-") || word == b"-" {
        return (1, What::Operand);
    }
    let Some((row, place)) = options::lookup(word) else {
        return (1, What::Unknown);
    };
    let (words, value) = match (place, next) {
        (Value::None, _) => (1, &[][..]),
        (Value::Joined(from), _) => (1, &word[from..]),
        (Value::Next, Some(next)) => (2, next),
        (Value::Next, None) => return (1, What::ValueMissing),
    };
    match options::distrust(row, value, words == 2) {
        Some(why) => (words, What::Distrusted(why)),
        None => (words, What::Option(row, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let shapes = items(&words).map(|item| match item.what {
            What::Operand => "operand".to_owned(),
            What::Option(row, value) => {
                format!("{}={}", row.spelling(), String::from_utf8_lossy(value))
            }
            What::ValueMissing => "missing".to_owned(),
            What::Unknown => "unknown".to_owned(),
            What::Distrusted(_) => "distrusted".to_owned(),
        });
        shapes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_value_is_no_operand() {
        assert_eq!(shape("cc -c -o a.o a.c"), "-c= -o=a.o operand");
        assert_eq!(shape("cc -include x.c a.c"), "-include=x.c operand");
        assert_eq!(shape("cc -D -c a.c"), "-D=-c operand");
    }

    #[test]
    fn the_compiler_is_no_item() {
        assert_eq!(shape("-c"), "");
        assert_eq!(shape("a.c -"), "operand");
    }

    #[test]
    fn words_that_cannot_be_trusted() {
        assert_eq!(shape("cc -c -o"), "-c= missing");
        assert_eq!(shape("cc --frobnicate -Zfoo --"), "unknown unknown unknown");
        assert_eq!(
            shape("cc -fnew-thing=/etc/passwd -target ../x -gsplit-dwarf=/x"),
            "distrusted distrusted distrusted"
        );
        assert_eq!(shape("cc --param -fplugin=x -D @file"), "distrusted distrusted");
        assert_eq!(shape("cc -o @file -o -x"), "distrusted -o=-x");
        assert_eq!(shape("cc -fdebug-prefix-map=/a=/b"), "-fdebug-prefix-map==/a=/b");
    }
}
