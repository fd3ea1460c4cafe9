//! Strict JSON as a serde data format.

use alloc::{
    borrow::Cow,
    collections::BTreeSet,
    string::{String, ToString as _},
    vec::Vec,
};
use core::mem;

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{Fault, scan::Scanner};

/// Reads one document.
pub(super) struct Reader<'de> {
    scanner: Scanner<'de>,
    depth: usize,
    depth_max: usize,
    /// Where a fault is, from the inside out: filled on the way back from it, so that it costs nothing before.
    trace: Vec<String>,
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str, depth_max: usize) -> Self {
        Self { scanner: Scanner::new(text), depth: 0, depth_max, trace: Vec::new() }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.scanner.position()
    }

    /// Where the fault is that ended the reading: `trees.0.entries.3.size`; empty for the document as a whole.
    pub(super) fn place(&self) -> String {
        self.trace.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// Notes on the way back from a fault what it was in.
    fn within<T>(&mut self, read: Result<T, Fault>, name: impl FnOnce() -> String) -> Result<T, Fault> {
        if read.is_err() {
            self.trace.push(name());
        }
        read
    }

    /// Nothing but white space may be left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.scanner.peek_or_end().map_or(Ok(()), |_| Err(Fault::TrailingData))
    }

    fn enter(&mut self, open: &str, what: &'static str) -> Result<(), Fault> {
        self.scanner.expect(open, what)?;
        if self.depth == self.depth_max {
            return Err(Fault::TooDeep { depth_max: self.depth_max });
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self, close: &str, what: &'static str) -> Result<(), Fault> {
        self.scanner.expect(close, what)?;
        self.depth -= 1;
        Ok(())
    }

    /// Whether another element comes before `close`; takes the comma.
    fn another(&mut self, first: &mut bool, close: u8) -> Result<bool, Fault> {
        if self.scanner.peek()? == close {
            return Ok(false);
        }
        if !mem::take(first) {
            self.scanner.expect(",", "`,` or the end of the array or object")?;
            if self.scanner.peek()? == close {
                return Err(Fault::Expected("another element after `,`"));
            }
        }
        Ok(true)
    }

    fn array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        self.enter("[", "an array")?;
        let value = visitor.visit_seq(Elements { reader: self, first: true, index: 0 })?;
        self.leave("]", "the end of the array")?;
        Ok(value)
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        self.enter("{", "an object")?;
        let value =
            visitor.visit_map(Members { reader: self, first: true, keys: Keys::default(), key: Cow::Borrowed("") })?;
        self.leave("}", "the end of the object")?;
        Ok(value)
    }

    /// Any JSON value; inside it, too, keys are unique and the depth is limited.
    fn skip(&mut self) -> Result<(), Fault> {
        match self.scanner.peek()? {
            b'n' => self.scanner.expect("null", "a value"),
            b'-' | b'0'..=b'9' => self.scanner.skip_number(),
            b'"' => self.scanner.string().map(drop),
            b'[' => self.array(serde::de::IgnoredAny).map(drop),
            b'{' => self.object(serde::de::IgnoredAny).map(drop),
            _ => self.scanner.boolean().map(drop),
        }
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.scanner.peek()? {
            b'"' => match self.scanner.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            b'{' => self.object(visitor),
            b'[' => self.array(visitor),
            b't' | b'f' => visitor.visit_bool(self.scanner.boolean()?),
            b'-' | b'0'..=b'9' => visitor.visit_u64(self.scanner.integer()?),
            b'n' => Err(Fault::Null),
            _ => Err(Fault::Expected("a value")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.object(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if self.scanner.peek()? == b'"' {
            return visitor.visit_enum(self.scanner.string()?.into_deserializer());
        }
        self.enter("{", "a string or an object with one key")?;
        let value = visitor.visit_enum(Variant { reader: self })?;
        self.leave("}", "the end of an object with one key")?;
        Ok(value)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if !self.reader.another(&mut self.first, b']')? {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        let element = seed.deserialize(&mut *self.reader).map(Some);
        self.reader.within(element, || index.to_string())
    }
}

struct Members<'a, 'de> {
    reader: &'a mut Reader<'de>,
    first: bool,
    keys: Keys<'de>,
    /// The key whose value comes next.
    key: Cow<'de, str>,
}

/// The keys of one object so far.
#[derive(Default)]
struct Keys<'de> {
    /// The first few, which are all that most objects have: looked through one by one, without a tree's allocations.
    few: [Cow<'de, str>; KEYS_FEW],
    count: usize,
    more: BTreeSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Whether it is new.
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        let few = self.count.min(KEYS_FEW);
        if self.few[..few].contains(&key) {
            return false;
        }
        self.count += 1;
        match self.few.get_mut(few) {
            Some(place) => {
                *place = key;
                true
            }
            None => self.more.insert(key),
        }
    }
}

const KEYS_FEW: usize = 8;

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if !self.reader.another(&mut self.first, b'}')? {
            return Ok(None);
        }
        let key = self.reader.scanner.string()?;
        if !self.keys.insert(key.clone()) {
            return Err(Fault::DuplicateKey(key.into_owned()));
        }
        self.key = key.clone();
        match key {
            Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
            Cow::Owned(key) => seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(key)),
        }
        .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        self.reader.scanner.expect(":", "`:`")?;
        let value = seed.deserialize(&mut *self.reader);
        self.reader.within(value, || self.key.clone().into_owned())
    }
}

/// An enum's variant with content: an object of one key, the variant's name.
struct Variant<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name: String = self.reader.scanner.string()?.into_owned();
        let variant = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(name))?;
        self.reader.scanner.expect(":", "`:`")?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    /// A variant without content is written as a string: one way for each thing.
    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::Expected("the variant's name as a string"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.reader.array(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.reader.object(visitor)
    }
}
