//! What fields of several kinds have in common: forms that people write, and what is refused in them.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

use crate::{json::INTEGER_MAX, manifest::PATH_BYTES_MAX, text};

/// A text in a table of a check has at most this many bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;

/// More elements than this in a list or a table of a check are a mistake.
pub const ELEMENTS_MAX: usize = 100;

/// The error of a field, if it is not absolute and plain.
pub(super) fn absolute(field: &str, path: &str) -> Result<(), String> {
    let plain = |rest: &str| rest.split('/').all(|component| !matches!(component, "" | "." | ".."));
    let usable = path.len() <= PATH_BYTES_MAX && !path.contains('\0') && path.strip_prefix('/').is_some_and(plain);
    let fault = "is not absolute and plain: no `.`, `..` or empty component";
    usable.then_some(()).ok_or_else(|| format!("`{field}` `{}` {fault}", text::visible(path)))
}

/// The error of a field, if it is empty or too long: an empty text is in everything, so nothing would be checked.
pub(super) fn not_empty(field: &str, value: &str) -> Result<(), String> {
    match value.len() {
        0 => Err(format!("`{field}` is empty")),
        1..=TEXT_BYTES_MAX => Ok(()),
        more => Err(format!("`{field}` has {more} bytes, {TEXT_BYTES_MAX} allowed")),
    }
}

/// The error of a field, if it is not something that one line of a name may hold.
pub(super) fn one_word(field: &str, value: &str) -> Result<(), String> {
    not_empty(field, value)?;
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\');
    let usable = !value.contains(odd) && !value.starts_with('-');
    usable.then_some(()).ok_or_else(|| format!("`{field}` is `{}`, which is no name", text::visible(value)))
}

/// [`not_empty`] and [`absolute`] and their like, of a field that may be absent.
pub(super) fn if_there(
    field: &str,
    value: Option<&String>,
    rule: impl Fn(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    value.map_or(Ok(()), |value| rule(field, value))
}

/// For `#[serde(default = "yes")]`.
pub(super) const fn yes() -> bool {
    true
}

/// For `#[serde(default = "one")]`.
pub(super) const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that `skip_serializing_if` asks for")]
pub(super) const fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that `skip_serializing_if` asks for")]
pub(super) const fn is_one(value: &u64) -> bool {
    *value == 1
}

/// One value, or a list of them: `status = 200` and `status = [200, 204]`. Of one, a list is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMany<u16> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Numbers)
    }
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = OneOrMany<u16>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let number = u16::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))?;
        Ok(OneOrMany([number].into()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let unsigned = u64::try_from(number);
        unsigned.map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self)).and_then(|it| self.visit_u64(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            if all.len() == ELEMENTS_MAX {
                return Err(de::Error::invalid_length(ELEMENTS_MAX + 1, &self));
            }
            all.push(element);
        }
        Ok(OneOrMany(all))
    }
}

/// A text, a whole number, or true or false: what a place in a JSON document is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// From 0.
    Number(u64),
    /// Anything in quotes.
    Text(String),
}

impl fmt::Display for Scalar {
    /// As JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{}", serde_json::Value::from(value.as_str())),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => serializer.serialize_u64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalars)
    }
}

struct Scalars;

impl Visitor<'_> for Scalars {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number from 0, `true` or `false`")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        // What no other reader of the manifest would read as the same.
        let exact = value <= INTEGER_MAX;
        exact.then_some(Scalar::Number(value)).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        let unsigned = u64::try_from(value);
        unsigned.map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self)).and_then(|it| self.visit_u64(it))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    use crate::json::{self, Limits};

    #[test]
    fn what_is_expected_is_told() {
        let many = alloc::format!("{:?}", [200; ELEMENTS_MAX + 1]);
        for (json, expected) in [
            ("\"200\"", "expected a number or a list of numbers"),
            (many.as_str(), "invalid length 101, expected a number or a list of numbers"),
        ] {
            let error = serde_json::from_str::<OneOrMany<u16>>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = serde_json::from_str::<Scalar>("[]").unwrap_err().to_string();
        assert!(error.contains("expected a text, a whole number from 0, `true` or `false`"), "{error}");
    }

    #[test]
    fn one_or_many() {
        for (json, numbers) in [
            ("200", Some(&[200][..])),
            ("[200,204]", Some(&[200, 204])),
            ("[]", Some(&[])),
            ("70000", None),
            ("\"a\"", None),
        ] {
            let read: Option<OneOrMany<u16>> = json::parse(json.as_bytes(), &Limits::MANIFEST).ok();
            assert_eq!(read.as_ref().map(|read| read.0.as_slice()), numbers, "{json}");
            assert!(read.is_none_or(|read| serde_json::to_string(&read).unwrap() == json));
        }
        let long = alloc::format!("[{}1]", "1,".repeat(ELEMENTS_MAX));
        assert!(json::parse::<OneOrMany<u16>>(long.as_bytes(), &Limits::MANIFEST).is_err());
    }

    #[test]
    fn scalars() {
        for json in ["true", "3", "\"a\\\"b\""] {
            let scalar: Scalar = json::parse(json.as_bytes(), &Limits::MANIFEST).unwrap();
            assert_eq!((scalar.to_string().as_str(), serde_json::to_string(&scalar).unwrap().as_str()), (json, json));
        }
        for json in ["[1]", "{}", "-1", "9007199254740992"] {
            assert!(json::parse::<Scalar>(json.as_bytes(), &Limits::MANIFEST).is_err(), "{json}");
        }
    }

    #[test]
    fn paths_and_names() {
        for (path, usable) in [
            ("/usr/sbin/nginx", true),
            ("/", false),
            ("", false),
            ("nginx", false),
            ("/a/../b", false),
            ("/a//b", false),
            ("/a/", false),
        ] {
            assert_eq!(absolute("executable", path).is_ok(), usable, "{path}");
        }
        for (name, usable) in
            [("shop.service", true), ("a@b", true), ("", false), ("-a", false), ("a b", false), ("../x", false)]
        {
            assert_eq!(one_word("unit", name).is_ok(), usable, "{name}");
        }
    }
}
