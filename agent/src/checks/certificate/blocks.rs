//! From the bytes of a file to the certificates in it: PEM or DER.
//!
//! A file is first cut at every line that begins a block, so that what is wrong with one block is told of that one, with its
//! number and its offset, and ends there; each piece is then read by the PEM reader that servers in Rust use.

use portcullis::text;
use rustls::pki_types::pem::{self, SectionKind};
use x509_parser::asn1_rs::{Any, FromDer as _};

use super::{Problem, Problems};

/// A certificate, still in DER.
pub(super) struct Block {
    /// From 1, of its kind.
    pub(super) number: usize,
    /// Where its first byte, or its `-----BEGIN`, is in the file.
    pub(super) offset: Option<usize>,
    pub(super) der: Vec<u8>,
}

impl Block {
    /// What it is called while nobody could read its subject.
    pub(super) fn place(&self) -> String {
        place(self.number, self.offset)
    }
}

fn place(number: usize, offset: Option<usize>) -> String {
    match offset {
        Some(offset) => format!("certificate {number} (at byte {offset})"),
        None => format!("certificate {number}"),
    }
}

/// Every certificate in a file. Private keys, parameters and revocation lists are passed over.
pub(super) fn split(bytes: &[u8], problems: &mut Problems) -> Vec<Block> {
    // A text may begin with a `0` too.
    let is_der = bytes.first() == Some(&DER_SEQUENCE) && starts(bytes).is_empty();
    let blocks = if is_der { split_der(bytes, problems) } else { split_pem(bytes, problems) };
    if blocks.is_empty() && problems.is_harmless() {
        problems.push(Problem::fail("", "there is no certificate in it"));
    }
    blocks
}

/// One certificate after the other.
fn split_der(bytes: &[u8], problems: &mut Problems) -> Vec<Block> {
    let (mut blocks, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        if blocks.len() == CERTIFICATES_MAX {
            problems.push(too_many());
            break;
        }
        let (offset, number) = (bytes.len() - rest.len(), blocks.len() + 1);
        match Any::from_der(rest) {
            Ok((after, _)) if rest[0] == DER_SEQUENCE => {
                let der = rest[..rest.len() - after.len()].to_vec();
                blocks.push(Block { number, offset: Some(offset), der });
                rest = after;
            }
            _ if blocks.is_empty() => {
                problems.push(Problem::fail(&place(number, Some(offset)), format!("is not whole DER: {}", why(rest))));
                break;
            }
            _ => {
                let text = format!("{} bytes follow at byte {offset} that are no certificate", rest.len());
                problems.push(Problem::fail("", text));
                break;
            }
        }
    }
    blocks
}

/// Why no element can be taken from the beginning of that.
pub(super) fn why(der: &[u8]) -> String {
    let header = x509_parser::asn1_rs::Header::from_der(der);
    match header.map(|(rest, header)| (rest.len(), header.length().definite())) {
        Ok((there, Ok(announced))) if there < announced => format!("{announced} bytes announced, {there} there"),
        Ok((_, Err(_))) => "it has no definite length".into(),
        _ => format!("its {} bytes begin with no element", der.len()),
    }
}

fn split_pem(bytes: &[u8], problems: &mut Problems) -> Vec<Block> {
    let starts = starts(bytes);
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    outside(&bytes[..starts.first().copied().unwrap_or(bytes.len())], 0, problems);
    let mut reader = Reader { problems, blocks: Vec::new(), certificates: 0 };
    for (&start, end) in starts.iter().zip(ends) {
        if reader.certificates == CERTIFICATES_MAX {
            reader.problems.push(too_many());
            break;
        }
        reader.piece(start, &bytes[start..end]);
    }
    reader.blocks
}

fn too_many() -> Problem {
    Problem::fail("", format!("after {CERTIFICATES_MAX} certificates nothing more was read"))
}

/// Where lines begin with `-----BEGIN`.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|&byte| matches!(byte, b'\n' | b'\r')) {
        if line.starts_with(BEGIN) {
            starts.push(at);
        }
        at += line.len();
    }
    starts
}

struct Reader<'a> {
    problems: &'a mut Problems,
    blocks: Vec<Block>,
    /// Ill-formed ones count: a number is where one finds it.
    certificates: usize,
}

impl Reader<'_> {
    /// From one `-----BEGIN` up to the next.
    fn piece(&mut self, offset: usize, piece: &[u8]) {
        let Some(label) = label(piece) else {
            self.certificates += 1;
            let place = place(self.certificates, Some(offset));
            return self.problems.push(Problem::fail(&place, "begins with a line that is no `-----BEGIN …-----`"));
        };
        let body_end = end_of(piece, label);
        match label {
            b"CERTIFICATE" => self.certificate(offset, piece, body_end),
            _ if body_end.is_none() => {
                let text = format!("the block at byte {offset}, `{}`, has no `-----END` line", text::escape(label));
                self.problems.push(Problem::fail("", text));
            }
            _ => self.problems.extend(passed_over(offset, label)),
        }
        if let Some(end) = body_end {
            outside(&piece[end..], offset + end, self.problems);
        }
    }

    fn certificate(&mut self, offset: usize, piece: &[u8], end: Option<usize>) {
        self.certificates += 1;
        let number = self.certificates;
        if let Some(told) = end.and_then(|end| lines_of_nobody(&piece[..end])) {
            return self.problems.push(Problem::fail(&place(number, Some(offset)), told));
        }
        match pem::PemObject::from_pem_slice(piece) {
            Ok((SectionKind::Certificate, der)) => self.blocks.push(Block { number, offset: Some(offset), der }),
            Ok(_) => self.problems.push(Problem::fail(&place(number, Some(offset)), "is no certificate")),
            Err(error) => {
                self.problems.push(Problem::fail(&place(number, Some(offset)), broken(&error, piece, offset)));
            }
        }
    }
}

/// Lines that the reader here takes, and OpenSSL does not: so servers do not either.
fn lines_of_nobody(block: &[u8]) -> Option<String> {
    let behind = block.windows(LAST.len()).position(|window| window == LAST).map(|at| &block[at + LAST.len()..]);
    match behind.map(<[u8]>::trim_ascii) {
        Some(behind) if behind.starts_with(BEGIN) => {
            Some("has the next block right behind its `-----END CERTIFICATE-----`: a line break is missing".into())
        }
        Some(behind) if !behind.is_empty() => {
            let shown = text::escape(&behind[..behind.len().min(SHOWN_MAX)]);
            Some(format!("has `{shown}` behind its `-----END CERTIFICATE-----`"))
        }
        _ => {
            let alone = block.windows(2).any(|pair| pair[0] == b'\r' && !matches!(pair[1], b'\r' | b'\n'));
            alone.then(|| "has lines that end with a carriage return and no line feed".into())
        }
    }
}

/// What the reader refused, and where.
fn broken(error: &pem::Error, piece: &[u8], offset: usize) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "has no `-----END CERTIFICATE-----` line".into(),
        pem::Error::Base64Decode(_) => match stray(piece) {
            Some((at, byte)) => {
                format!("is not base64: `{}` at byte {}", text::escape(&[byte]), offset + at)
            }
            None => "is not base64: its length or its end is wrong".into(),
        },
        other => format!("cannot be read: {other}"),
    }
}

/// The first byte between the lines that belongs to no base64.
fn stray(piece: &[u8]) -> Option<(usize, u8)> {
    let body = piece.iter().position(|&byte| matches!(byte, b'\n' | b'\r'))?;
    let end = end_of_body(piece)?;
    let is_ours =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=') || byte.is_ascii_whitespace();
    (body..end).zip(&piece[body..end]).find(|(_, byte)| !is_ours(byte)).map(|(at, &byte)| (at, byte))
}

fn end_of_body(piece: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in piece.split_inclusive(|&byte| matches!(byte, b'\n' | b'\r')) {
        if line.starts_with(END) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// What stands between `-----BEGIN ` and the dashes.
fn label(piece: &[u8]) -> Option<&[u8]> {
    let line = piece.split(|&byte| matches!(byte, b'\n' | b'\r')).next()?;
    let label = line.trim_ascii_end().strip_prefix(BEGIN)?.strip_suffix(b"-----")?;
    (!label.is_empty() && !label.contains(&b'-')).then_some(label)
}

/// Where the block's last line ends, its line feed included.
fn end_of(piece: &[u8], label: &[u8]) -> Option<usize> {
    let start = end_of_body(piece)?;
    let line = piece[start..].split_inclusive(|&byte| matches!(byte, b'\n' | b'\r')).next()?;
    line.strip_prefix(END)?.strip_prefix(label)?.strip_prefix(b"-----")?;
    Some(start + line.len())
}

/// Other things are in such files too; what could have been meant as a certificate is not passed over in silence.
fn passed_over(offset: usize, label: &[u8]) -> Option<Problem> {
    let shown = text::escape(label);
    match label {
        b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE" => {
            let text = format!("the block at byte {offset} is a `{shown}`: make it a `CERTIFICATE` to have it judged");
            Some(Problem::unknown("", text))
        }
        _ if KNOWN.iter().any(|known| label.ends_with(known)) => None,
        _ => Some(Problem::warning("", format!("the block at byte {offset} is a `{shown}`, and was passed over"))),
    }
}

/// Text between blocks is allowed (RFC 7468 §2), and common: `openssl` writes what a certificate holds. What is no text is a
/// sign of damage, and so is what looks like a piece of a block.
fn outside(bytes: &[u8], offset: usize, problems: &mut Problems) {
    let mut at = offset;
    for line in bytes.split_inclusive(|&byte| matches!(byte, b'\n' | b'\r')) {
        let bare = line.trim_ascii();
        let told = if std::str::from_utf8(bare).is_err() || bare.iter().any(|&byte| byte < b' ' && byte != b'\t') {
            Some("is neither text nor a block")
        } else if bare.windows(BEGIN.len()).any(|window| window == BEGIN) {
            Some("has a `-----BEGIN` that does not begin its line")
        } else if bare.starts_with(b"-----END") {
            Some("ends a block that never began")
        } else if bare.len() == BASE64_LINE
            && bare.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        {
            Some("looks like part of a block, and is in none")
        } else {
            None
        };
        if let Some(told) = told {
            problems.push(Problem::fail("", format!("the line at byte {at} {told}")));
            return;
        }
        at += line.len();
    }
}

/// Ten times what the largest collections have; from here on the smallest of blocks would take the most memory.
const CERTIFICATES_MAX: usize = 100_000;
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const LAST: &[u8] = b"-----END CERTIFICATE-----";
/// Of what stands where nothing should: enough to find it.
const SHOWN_MAX: usize = 40;
/// What a certificate in DER begins with.
const DER_SEQUENCE: u8 = 0x30;
/// How long `openssl` makes the lines of a block (RFC 7468 §2).
const BASE64_LINE: usize = 64;
/// What else is found beside certificates, by the end of its label.
const KNOWN: [&[u8]; 5] = [b"PRIVATE KEY", b"PUBLIC KEY", b"PARAMETERS", b"X509 CRL", b"CERTIFICATE REQUEST"];
