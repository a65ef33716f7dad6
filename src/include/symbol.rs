//! Spellings as numbers: equal tokens have equal symbols, and a macro table is an array.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::hash::{self, Map};

/// A spelling, interned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

impl Symbol {
    /// Its place in arrays that are indexed by symbols.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All spellings met so far.
pub struct Symbols {
    bytes: Vec<u8>,
    /// Where each spelling ends in `bytes`; it begins where the one before it ends.
    ends: Vec<u32>,
    /// By the hashes of spellings, or the next free number behind those.
    by_hash: Map<u64, Symbol>,
}

impl Symbols {
    /// Holds the known spellings, so that their constants are true.
    pub fn new() -> Symbols {
        let mut symbols = Symbols { bytes: Vec::new(), ends: Vec::new(), by_hash: Map::default() };
        for (at, spelling) in KNOWN.split_terminator(' ').enumerate() {
            let symbol = symbols.intern(spelling.as_bytes());
            debug_assert_eq!(symbol.index(), at, "{spelling} stands twice");
        }
        symbols
    }

    /// The symbol of a spelling.
    pub fn intern(&mut self, spelling: &[u8]) -> Symbol {
        let mut slot = hash::of_bytes(spelling, 0);
        while let Some(&symbol) = self.by_hash.get(&slot) {
            if self.spelling(symbol) == spelling {
                return symbol;
            }
            slot = slot.wrapping_add(1);
        }
        self.bytes.extend_from_slice(spelling);
        let number = |count| u32::try_from(count).expect("spellings end before four billion bytes");
        let symbol = Symbol(number(self.ends.len()));
        self.ends.push(number(self.bytes.len()));
        self.by_hash.insert(slot, symbol);
        symbol
    }

    /// The spelling of a symbol.
    pub fn spelling(&self, symbol: Symbol) -> &[u8] {
        let start = symbol.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[symbol.index()] as usize]
    }

    /// The spelling of a symbol that is a path.
    pub fn path(&self, symbol: Symbol) -> &Path {
        Path::new(OsStr::from_bytes(self.spelling(symbol)))
    }

    /// Those added since there were `count`.
    pub fn since(&self, count: usize) -> impl Iterator<Item = Symbol> + use<> {
        (count as u32..self.ends.len() as u32).map(Symbol)
    }

    /// Roughly the bytes that all this takes: spellings, and their places in list and map, which has as much again
    /// for what is free.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * (size_of::<u32>() + 2 * size_of::<(u64, Symbol)>())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols::new()
    }
}

macro_rules! known {
    ($($name:ident = $spelling:literal,)*) => {
        /// In the order of their numbers, each with a space behind it.
        const KNOWN: &str = concat!($($spelling, " "),*);
        /// Spellings that the engine knows by constants.
        #[allow(missing_docs)]
        pub mod known {
            use super::Symbol;
            #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
            enum Place { $($name),* }
            $(pub const $name: Symbol = Symbol(Place::$name as u32);)*
        }
    };
}

known! {
    EMPTY = "",
    HASH = "#",
    PASTE = "##",
    OPEN = "(",
    CLOSE = ")",
    COMMA = ",",
    ELLIPSIS = "...",
    LESS = "<",
    GREATER = ">",
    COLON = ":",
    QUESTION = "?",
    PLUS = "+",
    MINUS = "-",
    STAR = "*",
    SLASH = "/",
    PERCENT = "%",
    AND = "&",
    OR = "|",
    XOR = "^",
    NOT = "!",
    COMPLEMENT = "~",
    AND_AND = "&&",
    OR_OR = "||",
    EQUAL = "==",
    NOT_EQUAL = "!=",
    LESS_EQUAL = "<=",
    GREATER_EQUAL = ">=",
    SHIFT_LEFT = "<<",
    SHIFT_RIGHT = ">>",
    WORD_AND = "and",
    WORD_BITAND = "bitand",
    WORD_BITOR = "bitor",
    WORD_COMPL = "compl",
    WORD_NOT = "not",
    WORD_NOT_EQ = "not_eq",
    WORD_OR = "or",
    WORD_XOR = "xor",
    TRUE = "true",
    DEFINED = "defined",
    IF = "if",
    IFDEF = "ifdef",
    IFNDEF = "ifndef",
    ELIF = "elif",
    ELIFDEF = "elifdef",
    ELIFNDEF = "elifndef",
    ELSE = "else",
    ENDIF = "endif",
    DEFINE = "define",
    UNDEF = "undef",
    INCLUDE = "include",
    INCLUDE_NEXT = "include_next",
    IMPORT = "import",
    EMBED = "embed",
    PRAGMA = "pragma",
    ASSERT = "assert",
    UNASSERT = "unassert",
    ONCE = "once",
    PUSH_MACRO = "push_macro",
    POP_MACRO = "pop_macro",
    GCC = "GCC",
    CLANG = "clang",
    TARGET = "target",
    OPTIMIZE = "optimize",
    RESET_OPTIONS = "reset_options",
    PUSH_OPTIONS = "push_options",
    POP_OPTIONS = "pop_options",
    MODULE = "module",
    EXPORT = "export",
    VA_ARGS = "__VA_ARGS__",
    VA_OPT = "__VA_OPT__",
    OPERATOR_PRAGMA = "_Pragma",
    FILE = "__FILE__",
    FILE_NAME = "__FILE_NAME__",
    BASE_FILE = "__BASE_FILE__",
    LINE = "__LINE__",
    COUNTER = "__COUNTER__",
    DATE = "__DATE__",
    TIME = "__TIME__",
    TIMESTAMP = "__TIMESTAMP__",
    INCLUDE_LEVEL = "__INCLUDE_LEVEL__",
    HAS_INCLUDE = "__has_include",
    HAS_INCLUDE_NEXT = "__has_include_next",
    HAS_EMBED = "__has_embed",
    HAS_ATTRIBUTE = "__has_attribute",
    HAS_CPP_ATTRIBUTE = "__has_cpp_attribute",
    HAS_C_ATTRIBUTE = "__has_c_attribute",
    HAS_DECLSPEC_ATTRIBUTE = "__has_declspec_attribute",
    HAS_BUILTIN = "__has_builtin",
    HAS_CONSTEXPR_BUILTIN = "__has_constexpr_builtin",
    HAS_FEATURE = "__has_feature",
    HAS_EXTENSION = "__has_extension",
    HAS_WARNING = "__has_warning",
    IS_IDENTIFIER = "__is_identifier",
    IS_TARGET_ARCH = "__is_target_arch",
    IS_TARGET_VENDOR = "__is_target_vendor",
    IS_TARGET_OS = "__is_target_os",
    IS_TARGET_ENVIRONMENT = "__is_target_environment",
    BUILDING_MODULE = "__building_module",
    CPP_MODULES = "__cpp_modules",
    CPLUSPLUS = "__cplusplus",
    CLANG_MACRO = "__clang__",
}
