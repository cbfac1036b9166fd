//! Regular expressions over identities, in the subset that Go's RE2 and Rust's engine read alike.
//!
//! The engines that enforce a policy are written in Go; holdfast is not. An expression that the two read differently would let one accept what the
//! other refuses, so whatever is outside the common subset is refused here, by name. An expression must compile alone, before it is wrapped and anchored:
//! `a)|(b` would otherwise escape its group. Subjects that are not ASCII never match.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::{
    self, Ast, ClassSetItem, Flag, FlagsItemKind, GroupKind, LiteralKind, RepetitionKind, RepetitionRange,
    parse::ParserBuilder,
};

/// The longest expression, in bytes.
pub const MAX_PATTERN: usize = 1024;
/// The deepest nesting of groups and repetitions.
const MAX_NESTING: u32 = 32;
/// The largest count in `{n,m}`, over all nested repetitions: Go refuses more than 1000.
const MAX_REPEAT: u32 = 1000;
/// The largest compiled expression, in bytes.
const MAX_COMPILED: usize = 512 * 1024;
/// The longest subject that is matched, in bytes.
const MAX_SUBJECT: usize = 4096;

/// A URI, an e-mail address and a username that share no name, and have every kind of character that names consist of.
const STRANGERS: [&str; 3] = ["https://Kx7.invalid/uW_3/q-e@r", "Bz9-m.o_T@vG.invalid", "Yd4.h-P_s"];

/// An expression that matches whole subjects only.
#[derive(Clone)]
pub struct IdentityPattern {
    source: String,
    anchored: Regex,
}

/// Why an expression is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was given.
    #[error(
        "the expression is empty: it would match only an empty identity. Write the identity, or leave the field out"
    )]
    Empty,
    /// Longer than is read.
    #[error("the expression has {len} bytes, more than the {MAX_PATTERN} that are read")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Characters outside printable ASCII.
    #[error(
        "`{pattern}` has characters outside printable ASCII at byte {at}: engines match them differently. Write `.` or an escape for them"
    )]
    NotAscii {
        /// The expression.
        pattern: String,
        /// The first such byte.
        at: usize,
    },
    /// It does not compile alone.
    #[error("`{pattern}` is not a regular expression: {detail}")]
    Syntax {
        /// The expression.
        pattern: String,
        /// What the parser met.
        detail: String,
    },
    /// It uses something Go's and Rust's engines read differently, or one of them does not have.
    #[error("`{pattern}` uses {what}, which the engines that enforce it read differently; {cure}")]
    OutsideCommonSubset {
        /// The expression.
        pattern: String,
        /// The construct.
        what: &'static str,
        /// What to write instead.
        cure: &'static str,
    },
    /// It matches every identity.
    #[error(
        "`{pattern}` matches any identity at all. Name what you trust; to require no identity, say so explicitly instead"
    )]
    MatchesEverything {
        /// The expression.
        pattern: String,
    },
}

impl IdentityPattern {
    /// Reads an expression; it is anchored at both ends whether or not it says so itself.
    ///
    /// # Errors
    /// [`PatternError`], when it is outside the subset that all engines read alike, or matches everything.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let compiled = Self::any(pattern)?;
        if compiled.names_nobody() {
            return Err(PatternError::MatchesEverything { pattern: pattern.to_owned() });
        }
        Ok(compiled)
    }

    /// As [`Self::new`], but an expression that matches everything is accepted: for a person at the command line who asks for just that.
    ///
    /// # Errors
    /// [`PatternError`], when it is outside the subset that all engines read alike.
    pub fn any(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Err(PatternError::Empty);
        }
        if pattern.len() > MAX_PATTERN {
            return Err(PatternError::TooLong { len: pattern.len() });
        }
        if let Some(at) = pattern.bytes().position(|b| !(b' '..=b'~').contains(&b)) {
            return Err(PatternError::NotAscii { pattern: pattern.to_owned(), at });
        }
        let syntax = |detail: String| PatternError::Syntax { pattern: pattern.to_owned(), detail };
        let ast = ParserBuilder::new()
            .nest_limit(MAX_NESTING)
            .build()
            .parse(pattern)
            .map_err(|e| syntax(format!("{} at byte {}", e.kind(), e.span().start.offset)))?;
        in_common_subset(&ast, 1).map_err(|(what, cure)| PatternError::OutsideCommonSubset {
            pattern: pattern.to_owned(),
            what,
            cure,
        })?;
        let build = |text: &str| {
            RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED).build().map_err(|e| syntax(e.to_string()))
        };
        build(pattern)?;
        Ok(Self { source: pattern.to_owned(), anchored: build(&anchored(pattern))? })
    }

    /// Whether the whole of `subject` matches. A subject that is not printable ASCII, or is longer than 4096 bytes, never does.
    pub fn matches(&self, subject: &str) -> bool {
        subject.len() <= MAX_SUBJECT
            && subject.bytes().all(|b| (b' '..=b'~').contains(&b))
            && self.anchored.is_match(subject.as_bytes())
    }

    /// Whether it matches whoever it is: strangers who have nothing in common, as short as names are or as long, or whatever has no name at all.
    fn names_nobody(&self) -> bool {
        let padding = "/kK0._-".repeat(20);
        let all = |probes: &[String]| probes.iter().all(|probe| self.anchored.is_match(probe.as_bytes()));
        let short = STRANGERS.map(str::to_owned);
        let long = STRANGERS.map(|stranger| format!("{stranger}{padding}"));
        let nameless = ["", "\u{1}", "~!~holdfast~!~"].map(str::to_owned);
        all(&short) || all(&long) || all(&nameless)
    }

    /// The expression as it was given.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The expression as engines get it: wrapped and anchored.
    pub fn anchored(&self) -> String {
        anchored(&self.source)
    }
}

fn anchored(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

impl PartialEq for IdentityPattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for IdentityPattern {}

impl fmt::Debug for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

type Foreign = (&'static str, &'static str);

/// Walks the expression and names the first construct that is not read alike. `repeat` is the product of the repetitions around it.
fn in_common_subset(ast: &Ast, repeat: u32) -> Result<(), Foreign> {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) | Ast::ClassPerl(_) => Ok(()),
        Ast::Flags(flags) => flags_in_common(&flags.flags),
        Ast::Literal(literal) => literal_in_common(literal),
        Ast::Assertion(assertion) => match assertion.kind {
            ast::AssertionKind::StartLine
            | ast::AssertionKind::EndLine
            | ast::AssertionKind::StartText
            | ast::AssertionKind::EndText
            | ast::AssertionKind::WordBoundary
            | ast::AssertionKind::NotWordBoundary => Ok(()),
            _ => Err(("a special word boundary", "write `\\b`")),
        },
        Ast::ClassUnicode(_) => Err(("a Unicode class", "list the ASCII characters you mean in brackets")),
        Ast::ClassBracketed(class) => class_in_common(&class.kind),
        Ast::Repetition(repetition) => {
            let count = match &repetition.op.kind {
                RepetitionKind::Range(
                    RepetitionRange::Exactly(n) | RepetitionRange::AtLeast(n) | RepetitionRange::Bounded(_, n),
                ) => (*n).max(1),
                _ => 1,
            };
            let repeat = repeat.saturating_mul(count);
            if repeat > MAX_REPEAT {
                return Err(("more than 1000 repetitions", "write `*` or `+`"));
            }
            if matches!(*repetition.ast, Ast::Repetition(_)) {
                return Err(("a repetition of a repetition", "put the inner one in a group"));
            }
            if matches!(*repetition.ast, Ast::Empty(_) | Ast::Assertion(_) | Ast::Flags(_)) {
                return Err(("a repetition of nothing", "put what shall repeat before it"));
            }
            in_common_subset(&repetition.ast, repeat)
        }
        Ast::Group(group) => {
            match &group.kind {
                GroupKind::CaptureIndex(_) => {}
                GroupKind::CaptureName { .. } => return Err(("a named group", "use `(?:…)`; names have no use here")),
                GroupKind::NonCapturing(flags) => flags_in_common(flags)?,
            }
            in_common_subset(&group.ast, repeat)
        }
        Ast::Alternation(alternation) => alternation.asts.iter().try_for_each(|ast| in_common_subset(ast, repeat)),
        Ast::Concat(concat) => concat.asts.iter().try_for_each(|ast| in_common_subset(ast, repeat)),
    }
}

fn flags_in_common(flags: &ast::Flags) -> Result<(), Foreign> {
    let foreign = flags.items.iter().any(|item| {
        matches!(item.kind, FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace | Flag::SwapGreed))
    });
    if foreign { Err(("a flag other than `i`, `m` and `s`", "leave it out")) } else { Ok(()) }
}

fn literal_in_common(literal: &ast::Literal) -> Result<(), Foreign> {
    match literal.kind {
        LiteralKind::Verbatim if matches!(literal.c, '{' | '}' | ']') => {
            Err(("an unescaped `{`, `}` or `]` as a plain character", "put a backslash before it"))
        }
        LiteralKind::Verbatim | LiteralKind::Meta => Ok(()),
        LiteralKind::Superfluous if literal.c.is_ascii_punctuation() && !matches!(literal.c, '<' | '>') => Ok(()),
        _ => Err(("an escape of a character that is plain text", "write the character itself")),
    }
}

fn class_in_common(set: &ast::ClassSet) -> Result<(), Foreign> {
    match set {
        ast::ClassSet::Item(item) => class_item_in_common(item),
        ast::ClassSet::BinaryOp(_) => Err(("a set operation in brackets", "list the characters you mean")),
    }
}

fn class_item_in_common(item: &ClassSetItem) -> Result<(), Foreign> {
    let class_literal = |literal: &ast::Literal| match literal.kind {
        LiteralKind::Verbatim if matches!(literal.c, '[' | ']' | '&' | '~') => {
            Err(("an unescaped `[`, `]`, `&` or `~` in brackets", "put a backslash before it"))
        }
        LiteralKind::Verbatim => Ok(()),
        _ => literal_in_common(literal),
    };
    match item {
        ClassSetItem::Empty(_) | ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(()),
        ClassSetItem::Literal(literal) => class_literal(literal),
        ClassSetItem::Range(range) => class_literal(&range.start).and_then(|()| class_literal(&range.end)),
        ClassSetItem::Union(union) => union.items.iter().try_for_each(class_item_in_common),
        ClassSetItem::Bracketed(_) => Err(("brackets inside brackets", "list the characters you mean")),
        ClassSetItem::Unicode(_) => Err(("a Unicode class", "list the ASCII characters you mean in brackets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> IdentityPattern {
        IdentityPattern::new(text).unwrap()
    }

    #[test]
    fn the_whole_subject_has_to_match() {
        let release = pattern(r"https://github\.com/acme/[^/]+/\.github/workflows/release\.yaml@refs/tags/v.*");
        assert!(release.matches("https://github.com/acme/web/.github/workflows/release.yaml@refs/tags/v1"));
        assert!(
            !release.matches(
                "https://evil.example/https://github.com/acme/web/.github/workflows/release.yaml@refs/tags/v1"
            )
        );
        assert!(!pattern("a|b").matches("ax"));
        assert!(!pattern("a|b").matches("xb"));
        assert!(!pattern("a$|b").matches("a\nb"));
        assert!(!pattern("(?m)a$").matches("a\nevil"));
    }

    #[test]
    fn a_pattern_cannot_leave_its_group() {
        for text in ["a)|(b", "a)|.*|(?:b", "(", ")"] {
            assert!(matches!(IdentityPattern::new(text), Err(PatternError::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for text in [
            r"a{,3}",
            r"a{1001}",
            r"(?:a{100}){100}",
            r"a**",
            r"\pL+",
            r"(?x)a b",
            r"(?u)a",
            r"(?R)a",
            r"(?U)a+",
            r"[a&&b]",
            r"[a--b]",
            r"[a~~b]",
            r"[[a]]",
            r"\<a",
            r"\b{start}a",
            r"(?P<n>a)",
            r"(?<n>a)",
            r"a}",
            r"a]",
            r"\x41",
            r"\u0041",
            r"\n",
            r"\Qa\E",
            r"(?=a)",
            r"(a)\1",
            r"^*",
            r"a\ b",
            r"[a&b]",
            r"[a~b]",
            r"[]a]",
            r"[a\ ]",
        ] {
            assert!(IdentityPattern::new(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn what_they_read_alike_is_accepted() {
        for text in [
            r"a{2,3}",
            r"a{0,3}?b",
            r"(?i)acme",
            r"[a-z0-9_.-]+@corp\.example",
            r"\w+\.\d{1,3}",
            r"(?:a|b)c?",
            r"[^/]+",
            r"[[:alpha:]]+",
            r"^a$",
            r"a\-b",
            r"a\/b",
            r"a{1000}",
            r"[a{}]+b",
            r"[a\[\]\&\~]b",
        ] {
            assert!(IdentityPattern::new(text).is_ok(), "{text}: {:?}", IdentityPattern::new(text));
        }
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in [
            ".*",
            "(?s).*",
            "[^/]*",
            "(.*)|a",
            r"[\s\S]*",
            ".{0,}",
            ".+",
            "(?s).+",
            r"\S+",
            r"[^\s]+",
            "..*",
            ".{1,}",
            ".{30,}",
            ".{1,60}",
            ".*[a-z/].*",
            ".*[A-Z].*",
            ".*[.].*",
            "https://.*|.*@.*|[^/@]*",
            "[ -z]+",
        ] {
            let got = IdentityPattern::new(text);
            assert!(matches!(got, Err(PatternError::MatchesEverything { .. })), "{text}: {got:?}");
        }
        assert!(IdentityPattern::any(".*").is_ok());
        for text in ["https://.*", ".*@.*", r".+@corp\.example", r".*\.corp\.example/.*", "[a-z]+", "spiffe://.+"] {
            assert!(IdentityPattern::new(text).is_ok(), "{text} names somebody");
        }
    }

    #[test]
    fn only_printable_ascii_takes_part() {
        assert!(matches!(IdentityPattern::new("ä"), Err(PatternError::NotAscii { .. })));
        // The Kelvin sign folds to `k` in some engines.
        assert!(!pattern("(?i)k.*").matches("\u{212a}elvin"));
        assert!(!pattern("a.b").matches("aäb"));
        assert!(pattern("a.*b").matches("a~ b"));
        for outside in ["aäb", "a\u{7f}b", "a\tb"] {
            assert!(!pattern("a.*b").matches(outside), "{outside:?}");
        }
    }

    /// What is longer than a limit is refused, or matched by nothing: engines have limits of their own, and not the same.
    #[test]
    fn a_limit_is_the_last_length_that_takes_part() {
        let expression = |length: usize| IdentityPattern::new(&"a".repeat(length));
        assert!(expression(MAX_PATTERN).is_ok());
        assert_eq!(expression(MAX_PATTERN + 1), Err(PatternError::TooLong { len: MAX_PATTERN + 1 }));
        assert!(pattern("a+").matches(&"a".repeat(MAX_SUBJECT)));
        assert!(!pattern("a+").matches(&"a".repeat(MAX_SUBJECT + 1)));
    }

    /// An expression is the text it was given as: two that match alike are two.
    #[test]
    fn an_expression_is_known_by_its_text() {
        assert_eq!(pattern("a|b").as_str(), "a|b");
        assert_eq!(pattern("a|b").anchored(), "^(?:a|b)$");
        assert_eq!(pattern("a|b"), pattern("a|b"));
        assert_ne!(pattern("a|b"), pattern("b|a"));
        assert_eq!(format!("{:?}", pattern("a|b")), "/a|b/");
    }

    #[test]
    fn expressions_that_would_explode_are_refused_or_cheap() {
        assert!(IdentityPattern::new(&"(".repeat(100)).is_err());
        assert!(IdentityPattern::new(&format!("{}a{}", "(?:".repeat(40), ")".repeat(40))).is_err());
        assert!(!pattern("(a+)+b").matches(&"a".repeat(4000)));
    }
}
