//! The tokens of JSON, as RFC 8259 has them and not a bit wider.

use alloc::{borrow::Cow, string::String};

use super::{Fault, INTEGER_MAX};

/// A place in a text that is known to be UTF-8.
pub(super) struct Scanner<'de> {
    text: &'de str,
    /// Always at a character's boundary, except inside [`string`](Self::string).
    at: usize,
}

impl<'de> Scanner<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The first byte of the next token, not taken; `None` at the end.
    pub(super) fn peek_or_end(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// The first byte of the next token, not taken.
    pub(super) fn peek(&mut self) -> Result<u8, Fault> {
        self.peek_or_end().ok_or(Fault::End)
    }

    /// Takes `token`, or says that `what` was expected.
    pub(super) fn expect(&mut self, token: &str, what: &'static str) -> Result<(), Fault> {
        self.peek()?;
        if !self.text.as_bytes()[self.at..].starts_with(token.as_bytes()) {
            return Err(Fault::Expected(what));
        }
        self.at += token.len();
        Ok(())
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        let value = self.peek()? == b't';
        self.expect(if value { "true" } else { "false" }, "a value")?;
        Ok(value)
    }

    /// An integer from 0 to 2⁵³−1.
    pub(super) fn integer(&mut self) -> Result<u64, Fault> {
        self.peek()?;
        let start = self.at;
        let digits = self.digits();
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        let plain = !leading_zero && !matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        let value = digits.parse().ok().filter(|&value| plain && value <= INTEGER_MAX);
        value.ok_or_else(|| {
            self.at = start;
            Fault::Number
        })
    }

    /// Any JSON number, unread.
    pub(super) fn skip_number(&mut self) -> Result<(), Fault> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(Fault::Expected("a number"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    /// A string; borrowed unless it has escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'de, str>, Fault> {
        self.expect("\"", "a string")?;
        let run = self.plain();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(run));
        }
        let mut text = String::from(run);
        loop {
            match self.byte().ok_or(Fault::End)? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(Fault::ControlCharacter),
            }
            text.push_str(self.plain());
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn digits(&mut self) -> &'de str {
        let rest = &self.text.as_bytes()[self.at..];
        self.take(rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()))
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if self.digits().is_empty() { Err(Fault::Expected("a digit")) } else { Ok(()) }
    }

    /// What stands for itself in a string. Ends at ASCII only, so at a character's boundary.
    fn plain(&mut self) -> &'de str {
        let plain = |byte: u8| (byte != b'"') & (byte != b'\\') & (byte >= b' ');
        let rest = &self.text.as_bytes()[self.at..];
        // Block by block, as far as blocks are plain as a whole: with no way out in the middle, one is tested in a few
        // instructions. A block may end inside a character, but what is taken does not.
        let (blocks, _) = rest.as_chunks::<BLOCK>();
        let blocks = blocks.iter().take_while(|block| block.iter().fold(true, |all, &byte| all & plain(byte))).count();
        let whole = blocks * BLOCK;
        self.take(whole + rest[whole..].iter().position(|&byte| !plain(byte)).unwrap_or(rest.len() - whole))
    }

    fn take(&mut self, bytes: usize) -> &'de str {
        let start = self.at;
        self.at += bytes;
        &self.text[start..self.at]
    }

    /// What comes after a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let escape = self.byte().ok_or(Fault::End)?;
        let c = match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(Fault::Expected("an escape")),
        };
        self.at += 1;
        Ok(c)
    }

    /// What comes after `\u`: a character, or the two halves of one.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.four_hex_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(Fault::LoneSurrogate);
        }
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(Fault::LoneSurrogate);
        }
        self.at += 2;
        let second = self.four_hex_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Fault::LoneSurrogate);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Fault::LoneSurrogate)
    }

    fn four_hex_digits(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            value = value << 4 | digit.ok_or(Fault::Expected("four hex digits"))?;
            self.at += 1;
        }
        Ok(value)
    }
}

/// As many bytes as the smallest vector unit around tests in one go.
const BLOCK: usize = 16;
