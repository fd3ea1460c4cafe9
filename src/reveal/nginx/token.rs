//! The statements of an nginx configuration.

use alloc::{string::String, vec::Vec};
use core::{iter::Peekable, mem, str::Chars};

/// One statement. Lines count from 1; it stands where its first word does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// `words;`
    Simple { line: usize, words: Vec<String> },
    /// `words {`
    Open { line: usize, words: Vec<String> },
    /// `}`
    Close,
}

/// Reads statement after statement. What ends without a semicolon is passed over.
pub(super) struct Statements<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl<'a> Statements<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), line: 1 }
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    /// The rest of a word that has begun with `first`.
    fn word(&mut self, first: char) -> String {
        if matches!(first, '"' | '\'') {
            return self.quoted(first);
        }
        let mut word = String::from(first);
        if first == '\\' {
            word.extend(self.next_char());
        }
        while let Some(&next) = self.rest.peek() {
            let in_variable = next == '{' && word.ends_with('$');
            if next.is_ascii_whitespace() || next == ';' || (next == '{' && !in_variable) {
                break;
            }
            self.next_char();
            self.push(&mut word, next);
            if next == '\\'
                && let Some(escaped) = self.next_char()
            {
                self.push(&mut word, escaped);
            } else if in_variable {
                self.variable(&mut word);
            }
        }
        word
    }

    /// The rest of `${name}`.
    fn variable(&mut self, word: &mut String) {
        while let Some(&next) = self.rest.peek() {
            if next.is_ascii_whitespace() || matches!(next, ';' | '{') {
                return;
            }
            self.next_char();
            self.push(word, next);
            if next == '}' {
                return;
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        while let Some(next) = self.next_char() {
            match next {
                '\\' => match self.next_char() {
                    Some(escaped) if matches!(escaped, '"' | '\'' | '\\') => self.push(&mut word, escaped),
                    Some(escaped) => {
                        self.push(&mut word, '\\');
                        self.push(&mut word, escaped);
                    }
                    None => {}
                },
                _ if next == quote => break,
                _ => self.push(&mut word, next),
            }
        }
        word
    }

    /// A word that is far too long for one is cut.
    fn push(&mut self, word: &mut String, next: char) {
        if word.len() < WORD_BYTES_MAX {
            word.push(next);
        }
    }

    /// The rest of a block that is another language: to the brace that closes it.
    fn skip_block(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next_char() {
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}

impl Iterator for Statements<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        let (mut words, mut line) = (Vec::new(), self.line);
        while let Some(next) = self.next_char() {
            match next {
                '#' => while self.next_char().is_some_and(|c| c != '\n') {},
                ';' if words.is_empty() => {}
                ';' => return Some(Statement::Simple { line, words }),
                '{' if words.first().is_some_and(|word: &String| word.ends_with("_by_lua_block")) => {
                    self.skip_block();
                    words.clear();
                }
                '{' => return Some(Statement::Open { line, words: mem::take(&mut words) }),
                '}' => return Some(Statement::Close),
                next if next.is_ascii_whitespace() => {}
                next => {
                    if words.is_empty() {
                        line = self.line;
                    }
                    let word = self.word(next);
                    if words.len() < WORDS_MAX {
                        words.push(word);
                    }
                }
            }
        }
        None
    }
}

/// Longer words are log formats and policies, nothing that is looked for.
const WORD_BYTES_MAX: usize = 4_096;

/// Names of one server.
const WORDS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::*;

    /// `1:a|b;` for a statement, `{` for a block's beginning, `}` for its end.
    fn shown(text: &str) -> String {
        let one = |statement| match statement {
            Statement::Simple { line, words } => format!("{line}:{};", words.join("|")),
            Statement::Open { line, words } => format!("{line}:{}{{", words.join("|")),
            Statement::Close => "}".to_string(),
        };
        Statements::new(text).map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn table() {
        for (text, statements) in [
            ("", ""),
            ("a;", "1:a;"),
            ("a b\n c;", "1:a|b|c;"),
            ("# a;\nb;", "2:b;"),
            ("a#b c;", "1:a#b|c;"),
            ("a 'b; {' \"c\\\"d\" \"\";", "1:a|b; {|c\"d|;"),
            ("a b\\;c;", "1:a|b\\;c;"),
            ("a ${b}c;", "1:a|${b}c;"),
            ("http{server{listen 80;}}", "1:http{ 1:server{ 1:listen|80; } }"),
            ("location ~ \\.php$ { x; }", "1:location|~|\\.php${ 1:x; }"),
            ("rewrite ^/[0-9]\\{2\\} /;", "1:rewrite|^/[0-9]\\{2\\}|/;"),
            ("content_by_lua_block { if a { b } } c;", "1:c;"),
            ("no end", ""),
            ("a 'no end;", ""),
            ("} } a;", "} } 1:a;"),
        ] {
            assert_eq!(shown(text), statements, "{text}");
        }
    }

    #[test]
    fn whatever_comes_it_ends() {
        let long = "{".repeat(100_000) + &"\\".repeat(100_000) + &"a ".repeat(100_000);
        assert_eq!(Statements::new(&long).count(), 100_000);
        assert_eq!(Statements::new(&("'".to_string() + &"x".repeat(1_000_000))).count(), 0);
    }
}
