//! A look at JSON before anything reads it.
//!
//! Parsers differ in what they make of an object that has a name twice, and none has a limit in front by itself. What passes here has one reading, a
//! bounded size and a bounded depth.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

/// What is read at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole document.
    pub max_len: usize,
    /// Levels of arrays and objects, at most 120.
    pub max_depth: usize,
}

/// Why a document is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No bytes at all, or white space only.
    #[error("it is empty")]
    Empty,
    /// More bytes than are read.
    #[error("it has {len} bytes, more than the {max} that are read")]
    TooLarge {
        /// Bytes offered.
        len: usize,
        /// Bytes read at most.
        max: usize,
    },
    /// Bytes that are not text.
    #[error("it is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Offset of the first such byte.
        at: usize,
    },
    /// Cut off: the document ends inside a value.
    #[error("it ends too early, in line {line}, column {column}: the file seems cut off")]
    Truncated {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Not JSON, nested too deeply, or with a name twice in one object.
    #[error("{detail}")]
    Syntax {
        /// What was met, with line and column.
        detail: String,
    },
}

/// Checks that `bytes` are one JSON document within `limits`, in which no object has a name twice.
///
/// # Errors
/// [`JsonError`], with the place in the document where there is one.
pub fn check(bytes: &[u8], limits: Limits) -> Result<(), JsonError> {
    if bytes.len() > limits.max_len {
        return Err(JsonError::TooLarge { len: bytes.len(), max: limits.max_len });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8 { at: e.valid_up_to() })?;
    if text.trim().is_empty() {
        return Err(JsonError::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Walk { depth_left: limits.max_depth, max_depth: limits.max_depth }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|e| {
            if e.is_eof() {
                JsonError::Truncated { line: e.line(), column: e.column() }
            } else {
                JsonError::Syntax { detail: explain(&e) }
            }
        })
}

/// Reads a document that is one JSON object, once it passes [`check`].
///
/// # Errors
/// [`JsonError`], with the place in the document where there is one.
pub fn read<T: DeserializeOwned>(bytes: &[u8], limits: Limits) -> Result<T, JsonError> {
    check(bytes, limits)?;
    let Object(value) = serde_json::from_slice(bytes).map_err(|e| JsonError::Syntax { detail: explain(&e) })?;
    Ok(value)
}

/// What a parser met, said of the document and not of the program that reads it.
pub fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let mismatch = ["invalid type: ", "invalid value: ", "invalid length: "]
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let name = |start: &str| text.strip_prefix(start).and_then(|rest| rest.split('`').nth(1));
    let words = if let Some((found, expected)) = mismatch {
        format!("there is {} where {} is expected", found_words(found), expected_words(expected))
    } else if let Some(name) = name("missing field") {
        format!("`{name}` is missing")
    } else if let Some(name) = name("unknown field") {
        format!("`{name}` is not known")
    } else if text == "expected value" || text == "expected ident" {
        "it is not JSON".to_owned()
    } else if text == "trailing characters" {
        "something follows after its end".to_owned()
    } else {
        text.to_owned()
    };
    match error.line() {
        0 => words,
        line => format!("{words} (line {line}, column {})", error.column()),
    }
}

fn found_words(found: &str) -> String {
    let inner = |start: &str| found.strip_prefix(start).map(|text| text.trim_matches('`'));
    match found {
        "sequence" => "an array".to_owned(),
        "map" => "an object".to_owned(),
        other => inner("string ")
            .map(|text| format!("the text {}", text.chars().take(80).collect::<String>()))
            .or_else(|| {
                inner("integer ").or_else(|| inner("floating point ")).map(|number| format!("the number {number}"))
            })
            .or_else(|| inner("boolean ").map(str::to_owned))
            .unwrap_or_else(|| other.to_owned()),
    }
}

fn expected_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array",
        "a map" => "an object",
        "a string" | "a borrowed string" => "text",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// What is written as a JSON object. Derived readers also take an array, with the fields in their order: no producer means that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Reads an object as an object: for `deserialize_with`.
///
/// # Errors
/// As the deserializer's.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

#[derive(Clone, Copy)]
struct Walk {
    depth_left: usize,
    max_depth: usize,
}

impl Walk {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(E::custom(format!("it is nested deeper than {} levels", self.max_depth))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                let name: String = name.chars().take(80).collect();
                return Err(A::Error::custom(format!("an object has the name `{name}` twice")));
            }
            seen.insert(name);
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_len: 1000, max_depth: 4 };

    fn error(text: &str) -> String {
        check(text.as_bytes(), LIMITS).unwrap_err().to_string()
    }

    #[test]
    fn one_reading_passes() {
        for text in [r#"{"a": [1, -2, 3.5, null, true, "x"], "b": {"a": {}}}"#, "[]", "1", r#"[{"a":1},{"a":2}]"#] {
            assert_eq!(check(text.as_bytes(), LIMITS), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_name_twice_does_not_however_it_is_spelt() {
        assert!(error(r#"{"version": 1, "version": 2}"#).contains("`version` twice"));
        assert!(error(r#"{"version": 1, "versi\u006fn": 2}"#).contains("`version` twice"));
        assert!(error(r#"[{"a": {"b": 1, "b": 1}}]"#).contains("line 1"));
    }

    #[test]
    fn an_array_is_no_object() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Outer {
            inner: Object<Inner>,
        }
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Inner {
            a: u8,
        }
        let read = |text: &str| read::<Outer>(text.as_bytes(), LIMITS);
        assert_eq!(read(r#"{"inner": {"a": 1}}"#), Ok(Outer { inner: Object(Inner { a: 1 }) }));
        for text in [r#"{"inner": [1]}"#, r#"[{"a": 1}]"#, "[]", "1", r#"{"inner": null}"#] {
            assert!(matches!(read(text), Err(JsonError::Syntax { detail }) if detail.contains("an object")), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_document() {
        #[derive(Debug, serde::Deserialize)]
        struct RawInner {
            _a: u8,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct RawOuter {
            _inner: RawInner,
        }
        for (text, words) in [
            ("[]", "there is an array where an object is expected (line 1, column 0)"),
            ("{}", "`_inner` is missing (line 1, column 2)"),
            (r#"{"x": 1}"#, "`x` is not known (line 1, column 4)"),
            (r#"{"_inner": 5}"#, "there is the number 5 where an object is expected (line 1, column 12)"),
            (
                r#"{"_inner": {"_a": "x"}}"#,
                "there is the text \"x\" where a whole number is expected (line 1, column 21)",
            ),
            ("holdfast", "it is not JSON (line 1, column 1)"),
        ] {
            assert_eq!(read::<RawOuter>(text.as_bytes(), LIMITS).unwrap_err().to_string(), words, "{text}");
        }
    }

    #[test]
    fn limits_and_damage_are_named() {
        assert_eq!(check(b"", LIMITS), Err(JsonError::Empty));
        assert_eq!(check(b" \n", LIMITS), Err(JsonError::Empty));
        assert_eq!(check(&[b' '; 1001], LIMITS), Err(JsonError::TooLarge { len: 1001, max: 1000 }));
        assert_eq!(check(b"\"a\xff\"", LIMITS), Err(JsonError::NotUtf8 { at: 2 }));
        assert!(matches!(check(br#"{"a": "#, LIMITS), Err(JsonError::Truncated { line: 1, .. })));
        assert!(error("[[[[[]]]]]").contains("deeper than 4"));
        assert!(check("[".repeat(900).as_bytes(), Limits { max_len: 1000, max_depth: 1000 }).is_err());
        assert!(error("{} {}").contains("follows after its end"));
    }
}
