//! Strict JSON: one way to write each thing, everything else refused with its place (PROTOCOL.md §1, rules 1 and 5).
//!
//! Two readers of the same bytes must never see two different documents. So, unlike JSON parsers at large, this one refuses:
//!
//! - bytes that are not UTF-8, a byte order mark, anything after the document;
//! - a key that occurs twice in an object, known or not;
//! - `null`, for optional fields too: absent is absent;
//! - numbers other than integers from 0 to 2⁵³−1 without sign, fraction or exponent;
//! - lone surrogates;
//! - a struct written as an array, which serde's derived code would take.
//!
//! Inside a value that the type ignores (an unknown field of a DSSE envelope) any JSON value may stand, but keys stay
//! unique and the depth limited. Whether unknown keys are refused is the type's choice: `#[serde(deny_unknown_fields)]`.
//! Types with `#[serde(flatten)]`, `untagged` or an internal `tag` are read through a buffer of serde's that forgets these
//! rules for what is inside: don't use them for what comes from outside.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use crate::text;

mod reader;
mod scan;

/// The largest integer that every JSON implementation reads exactly: 2⁵³−1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What is refused before it can cost anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole document.
    pub bytes_max: usize,
    /// Arrays and objects inside one another; a document that is one flat object has depth 1.
    pub depth_max: usize,
}

impl Limits {
    /// A signed manifest's payload (PROTOCOL.md §1, rule 1).
    pub const MANIFEST: Self = Self { bytes_max: 48 << 20, depth_max: 16 };
    /// What agents and controller say to each other. A report lists at most 1,000 differences a check, most far below the
    /// 4 KiB that a path may have.
    pub const MESSAGE: Self = Self { bytes_max: 8 << 20, depth_max: 16 };
}

/// Reads exactly one document, all of `bytes`.
pub fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8], limits: &Limits) -> Result<T, JsonError> {
    if bytes.len() > limits.bytes_max {
        return Err(JsonError::at(b"", Fault::TooLarge { bytes: bytes.len(), bytes_max: limits.bytes_max }));
    }
    let text = str::from_utf8(bytes).map_err(|error| JsonError::at(&bytes[..error.valid_up_to()], Fault::NotUtf8))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::at(b"", Fault::ByteOrderMark));
    }
    let mut reader = reader::Reader::new(text, limits.depth_max);
    let value = T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|fault| JsonError { place: reader.place(), ..JsonError::at(&bytes[..reader.position()], fault) })
}

/// For `#[serde(deserialize_with = "json::at_most::<_, _, 16>")]`: an array that is refused at its 17th element, not after
/// all of them have been stored.
pub fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let mut all = Vec::new();
    each_at_most::<_, _, MAX>(deserializer, |element| all.push(element))?;
    Ok(all)
}

/// The same, one by one: for what is to become something else before there is more of it.
pub fn each_at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    deserializer: D,
    take: impl FnMut(T),
) -> Result<(), D::Error> {
    deserializer.deserialize_seq(AtMost::<T, _, MAX>(PhantomData, take))
}

struct AtMost<T, F, const MAX: usize>(PhantomData<T>, F);

impl<'de, T: Deserialize<'de>, F: FnMut(T), const MAX: usize> Visitor<'de> for AtMost<T, F, MAX> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {MAX} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let mut taken = 0;
        while let Some(element) = elements.next_element()? {
            if taken == MAX {
                return Err(de::Error::invalid_length(MAX + 1, &MAX.to_string().as_str()));
            }
            taken += 1;
            self.1(element);
        }
        Ok(())
    }
}

/// The bytes are not the one document that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}{}: {fault}", In(place))]
pub struct JsonError {
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
    /// Keys and indices (from 0) that lead to it: `trees.0.entries.3.size`; empty when it is in the document as a whole.
    pub place: String,
    /// Which rule it breaks.
    pub fault: Fault,
}

/// `, in …` for a place, nothing for none.
struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", in `{}`", text::visible(self.0)) }
    }
}

impl JsonError {
    /// A fault found right after `before`.
    fn at(before: &[u8], fault: Fault) -> Self {
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before[..line_start].iter().filter(|&&byte| byte == b'\n').count();
        Self { line, column: before.len() - line_start + 1, place: String::new(), fault }
    }
}

/// What can be wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More bytes than allowed.
    #[error("{bytes} bytes, {bytes_max} allowed")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many may be.
        bytes_max: usize,
    },
    /// Arrays and objects too deep inside one another.
    #[error("nested deeper than {depth_max} levels")]
    TooDeep {
        /// How deep they may be.
        depth_max: usize,
    },
    /// More elements than an array may have.
    #[error("more than {0} elements")]
    TooMany(String),
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A byte order mark at the beginning.
    #[error("a byte order mark")]
    ByteOrderMark,
    /// It stops in the middle.
    #[error("unexpected end")]
    End,
    /// Something else than JSON allows here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// Something after the document.
    #[error("trailing data")]
    TrailingData,
    /// The key occurs a second time in its object.
    #[error("duplicate key `{}`", text::visible(.0))]
    DuplicateKey(String),
    /// `null`: a field without a value is left out.
    #[error("`null` is not allowed: leave the field out")]
    Null,
    /// A number that is not an integer from 0 to 2⁵³−1, plainly written.
    #[error("not an integer from 0 to 2^53-1 without sign, fraction or exponent")]
    Number,
    /// Half of a UTF-16 surrogate pair.
    #[error("a lone surrogate")]
    LoneSurrogate,
    /// A control character that is not escaped.
    #[error("a control character in a string")]
    ControlCharacter,
    /// Not of the shape that was asked for: an unknown or missing field, a wrong type.
    #[error("{}", text::visible(.0))]
    Shape(String),
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Shape(alloc::format!("{message}"))
    }

    /// Only [`at_most`] says this here: tuples and the like are none of our formats.
    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::TooMany(alloc::format!("{expected}"))
    }
}

#[cfg(test)]
mod tests;
