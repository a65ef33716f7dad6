//! Preprocessing tokens.

use super::symbol::Symbol;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An identifier or keyword.
    Name,
    /// A preprocessing number.
    Number,
    /// A string literal with its quotes and prefix.
    String,
    /// A character literal with its quotes and prefix.
    Char,
    /// An operator or other punctuation.
    Punctuation,
    /// A header name with its delimiters, where the grammar wants one.
    Header,
    /// Any other byte, and literals without an end.
    Other,
    /// Stands for a value that only the compiler knows, such as `__COUNTER__`.
    Unknown,
}

/// One token. Its spelling is interned, so tokens are small and can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// White space stands before it, where it is now.
    pub spaced: bool,
    /// White space stood before it where it was written. gcc looks at this when it makes a header name.
    pub written_spaced: bool,
    /// A name that was met inside its own expansion: never expanded again.
    pub painted: bool,
    /// How it is written; for digraphs the operator that they mean.
    pub spelling: Symbol,
}

impl std::hash::Hash for Token {
    /// All of it as one number: lists of tokens are hashed often.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let flags =
            u64::from(self.spaced) | u64::from(self.written_spaced) << 1 | u64::from(self.painted) << 2;
        state.write_u64((self.spelling.index() as u64) << 16 | (self.kind as u64) << 8 | flags);
    }
}

impl Token {
    /// A token without space before it.
    pub fn new(kind: Kind, spelling: Symbol) -> Token {
        Token { kind, spaced: false, written_spaced: false, painted: false, spelling }
    }

    /// Whether it is this punctuation.
    pub fn is(&self, punctuation: Symbol) -> bool {
        self.kind == Kind::Punctuation && self.spelling == punctuation
    }

    /// Its symbol, if it is a name.
    pub fn name(&self) -> Option<Symbol> {
        (self.kind == Kind::Name).then_some(self.spelling)
    }
}
