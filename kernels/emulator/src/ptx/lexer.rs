//! Text to tokens, each with its line.

use super::PtxError;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// An identifier: `add`, `%rd1`, `$L__BB0_2`, `_Z4slowyy_param_0`.
    Name(&'a str),
    /// A name after a dot, without the dot: directives and modifiers (`entry`, `u64`, `L2::128B`).
    Dot(&'a str),
    /// An integer literal, as its 64 bits.
    Int(u64),
    /// `0f…`: the bits of a single.
    F32(u32),
    /// `0d…`, or a decimal fraction: the bits of a double.
    F64(u64),
    /// A quoted string.
    Text(&'a str),
    /// Any other character.
    Punct(char),
}

fn is_name(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'$'
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

/// Splits `text` into tokens with their lines; comments are dropped.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>, PtxError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut found = Vec::with_capacity(text.len() / 4);
    while let Some(token) = lexer.next()? {
        found.push((token, lexer.line));
    }
    Ok(found)
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn take_while(&mut self, mut keep: impl FnMut(&Self) -> bool) -> &'a str {
        let start = self.at;
        while self.at < self.text.len() && keep(self) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn skip_blanks(&mut self) -> Result<(), PtxError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (c, _) if c.is_ascii_whitespace() => self.at += 1,
                (b'/', b'/') => {
                    self.take_while(|lexer| lexer.peek(0) != b'\n');
                }
                (b'/', b'*') => {
                    let Some(length) = self.text[self.at..].find("*/") else {
                        return Err(PtxError::new(self.line, "a comment without an end"));
                    };
                    self.line += self.text[self.at..self.at + length].matches('\n').count() as u32;
                    self.at += length + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Token<'a>>, PtxError> {
        self.skip_blanks()?;
        let c = self.peek(0);
        Ok(Some(match c {
            0 => return Ok(None),
            b'.' => {
                self.at += 1;
                let name = self.take_while(|lexer| {
                    is_name(lexer.peek(0))
                        || (lexer.peek(0) == b':'
                            && (lexer.peek(1) == b':' || lexer.text.as_bytes()[lexer.at - 1] == b':'))
                });
                Token::Dot(name)
            }
            b'"' => {
                self.at += 1;
                let text = self.take_while(|lexer| lexer.peek(0) != b'"');
                self.at += 1;
                Token::Text(text)
            }
            b'0'..=b'9' => self.number()?,
            b'%' | b'_' | b'$' | b'a'..=b'z' | b'A'..=b'Z' => {
                let start = self.at;
                self.at += 1;
                self.take_while(|lexer| is_name(lexer.peek(0)));
                Token::Name(&self.text[start..self.at])
            }
            _ if c.is_ascii() => {
                self.at += 1;
                Token::Punct(char::from(c))
            }
            _ => return Err(PtxError::new(self.line, "a character outside ASCII")),
        }))
    }

    fn number(&mut self) -> Result<Token<'a>, PtxError> {
        let line = self.line;
        let word = self.take_while(|lexer| {
            lexer.peek(0).is_ascii_alphanumeric() || (lexer.peek(0) == b'.' && lexer.peek(1).is_ascii_digit())
        });
        let bad = |_| PtxError::new(line, format!("`{word}` is not a number"));
        if let Some(hex) = word.strip_prefix("0f").or(word.strip_prefix("0F")) {
            return Ok(Token::F32(u32::from_str_radix(hex, 16).map_err(bad)?));
        }
        if let Some(hex) = word.strip_prefix("0d").or(word.strip_prefix("0D")) {
            return Ok(Token::F64(u64::from_str_radix(hex, 16).map_err(bad)?));
        }
        if word.contains('.') {
            let value: f64 = word.parse().map_err(|_| PtxError::new(line, format!("`{word}` is not a number")))?;
            return Ok(Token::F64(value.to_bits()));
        }
        let digits = word.strip_suffix('U').unwrap_or(word);
        let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            u64::from_str_radix(hex, 16)
        } else if let Some(binary) = digits.strip_prefix("0b").or(digits.strip_prefix("0B")) {
            u64::from_str_radix(binary, 2)
        } else if digits.len() > 1 && digits.starts_with('0') {
            u64::from_str_radix(digits, 8)
        } else {
            digits.parse()
        };
        Ok(Token::Int(value.map_err(bad)?))
    }
}
