//! What stands between two slashes of a pattern.

use alloc::vec::Vec;
use core::{iter::Peekable, ops::RangeInclusive, str::Chars};

use super::PatternFault;

/// Matches one component of a path.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
enum Token {
    /// `*`
    Star,
    /// `?`
    One,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<RangeInclusive<char>>,
    },
}

impl Segment {
    /// Matches every component.
    pub(super) fn anything() -> Self {
        Self { tokens: Vec::from([Token::Star]) }
    }

    pub(super) fn parse(text: &str) -> Result<Self, PatternFault> {
        let mut tokens = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' if matches!(tokens.last(), Some(Token::Star)) => {}
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::One),
                '[' => tokens.push(class(&mut rest)?),
                '\\' => tokens.push(Token::Literal(rest.next().ok_or(PatternFault::LoneBackslash)?)),
                _ => tokens.push(Token::Literal(c)),
            }
        }
        Ok(Self { tokens })
    }

    /// Two pointers and one place to come back to, as for `**` in a whole pattern.
    pub(super) fn matches(&self, component: &[u8]) -> bool {
        let mut rest = component;
        let mut token = 0;
        let mut retry: Option<(usize, &[u8])> = None;
        while let Some((unit, after)) = first(rest) {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    retry = Some((token, rest));
                }
                Some(one) if one.takes(unit) => {
                    token += 1;
                    rest = after;
                }
                _ => {
                    let Some((again, from)) = retry else { return false };
                    token = again;
                    rest = first(from).map_or(&[], |(_, after)| after);
                    retry = Some((again, rest));
                }
            }
        }
        self.tokens[token..].iter().all(|token| matches!(token, Token::Star))
    }
}

impl Token {
    fn takes(&self, unit: Unit) -> bool {
        match (self, unit) {
            (Self::Star, _) => false,
            (Self::One, _) => true,
            (Self::Literal(wanted), Unit::Character(c)) => *wanted == c,
            (Self::Class { negated, ranges }, Unit::Character(c)) => {
                ranges.iter().any(|range| range.contains(&c)) != *negated
            }
            (Self::Literal(_), Unit::Byte) => false,
            (Self::Class { negated, .. }, Unit::Byte) => *negated,
        }
    }
}

/// What `?` takes.
#[derive(Clone, Copy)]
enum Unit {
    Character(char),
    /// One byte that is not UTF-8: equal to nothing that a pattern can write.
    Byte,
}

/// The first character, or the first byte where there is none, and what comes after it.
fn first(bytes: &[u8]) -> Option<(Unit, &[u8])> {
    let &byte = bytes.first()?;
    if byte.is_ascii() {
        return Some((Unit::Character(char::from(byte)), &bytes[1..]));
    }
    let longest = &bytes[..bytes.len().min(4)];
    let c = longest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some(match c {
        Some(c) => (Unit::Character(c), &bytes[c.len_utf8()..]),
        None => (Unit::Byte, &bytes[1..]),
    })
}

/// What comes after `[`.
fn class(rest: &mut Peekable<Chars<'_>>) -> Result<Token, PatternFault> {
    let negated = rest.next_if(|&c| c == '!' || c == '^').is_some();
    let mut ranges = Vec::new();
    loop {
        let c = rest.next().ok_or(PatternFault::UnclosedClass)?;
        match c {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            '[' if rest.peek() == Some(&':') => ranges.extend_from_slice(posix_class(rest)?),
            _ => {
                let low = literal(c, rest)?;
                let high = range_end(rest)?.unwrap_or(low);
                if high < low {
                    return Err(PatternFault::BackwardRange);
                }
                ranges.push(low..=high);
            }
        }
    }
}

/// What comes after `-`, unless the `-` is the last character of the class and stands for itself.
fn range_end(rest: &mut Peekable<Chars<'_>>) -> Result<Option<char>, PatternFault> {
    let mut ahead = rest.clone();
    if ahead.next() != Some('-') || ahead.peek() == Some(&']') {
        return Ok(None);
    }
    let c = ahead.next().ok_or(PatternFault::UnclosedClass)?;
    let end = literal(c, &mut ahead)?;
    *rest = ahead;
    Ok(Some(end))
}

fn literal(c: char, rest: &mut Peekable<Chars<'_>>) -> Result<char, PatternFault> {
    if c == '\\' { rest.next().ok_or(PatternFault::UnclosedClass) } else { Ok(c) }
}

/// What comes after `[` in `[[:alpha:]]`: ASCII only, as in the C locale.
fn posix_class(rest: &mut Peekable<Chars<'_>>) -> Result<&'static [RangeInclusive<char>], PatternFault> {
    rest.next();
    let name: alloc::string::String = rest.by_ref().take_while(|&c| c != ':').collect();
    if rest.next() != Some(']') {
        return Err(PatternFault::UnknownClass);
    }
    let class = POSIX_CLASSES.iter().find(|class| class.0 == name);
    class.map(|class| class.1).ok_or(PatternFault::UnknownClass)
}

const POSIX_CLASSES: &[(&str, &[RangeInclusive<char>])] = &[
    ("alnum", &['0'..='9', 'A'..='Z', 'a'..='z']),
    ("alpha", &['A'..='Z', 'a'..='z']),
    ("blank", &[' '..=' ', '\t'..='\t']),
    ("cntrl", &['\0'..='\x1f', '\x7f'..='\x7f']),
    ("digit", &['0'..='9']),
    ("graph", &['!'..='~']),
    ("lower", &['a'..='z']),
    ("print", &[' '..='~']),
    ("punct", &['!'..='/', ':'..='@', '['..='`', '{'..='~']),
    ("space", &[' '..=' ', '\t'..='\r']),
    ("upper", &['A'..='Z']),
    ("xdigit", &['0'..='9', 'A'..='F', 'a'..='f']),
];
