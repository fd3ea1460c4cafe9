//! The corpus of ill-formed certificates, and what came of it: `certificates.golden`, line by line.
//!
//! `PORTCULLIS_BLESS=1 cargo test -p portcullis-agent --test check corpus` writes it anew; without, the test says what changed.
//! Dates and temporary paths are replaced, since they differ from run to run; nothing else does.

use std::{fmt::Write as _, fs, path::Path};

use portcullis::check::certificate::Certificate as Wanted;

use crate::{
    certificate_maker::{Made, authority, chain, der, in_file, pem, replaced, server},
    fixture::fixture,
};

/// What a file is, and what is in it.
type Case = (&'static str, Vec<u8>);

fn good() -> Made {
    server(&["a.example"]).self_signed()
}

/// The file itself.
fn files() -> Vec<Case> {
    let good = good();
    let (text, half) = (good.pem.as_str(), good.pem.len() / 2);
    let dashes = "-----BEGIN CERTIFICATE-----";
    vec![
        ("good PEM", text.into()),
        ("good DER", good.der.clone()),
        ("two in DER", good.der.repeat(2)),
        ("text before, between and after", format!("Subject: a\n\n{text}# and\n{text}\n").into()),
        ("CR alone", text.replace('\n', "\r").into()),
        ("something behind the last line", format!("{}# end\n", text.trim_end()).into()),
        ("two without a line break between", format!("{}{text}", text.trim_end()).into()),
        ("CR LF", text.replace('\n', "\r\n").into()),
        ("nothing", b"".to_vec()),
        ("a line feed", b"\n".to_vec()),
        ("some text", b"this is no certificate\n".to_vec()),
        ("some bytes", vec![0, 1, 2, 0xff, 0xfe]),
        ("a page of HTML", b"<html><body>404</body></html>\n".to_vec()),
        ("a private key", good.key.clone().into()),
        ("cut within the base64", text[..half].into()),
        ("cut within the last line", text[..text.len() - 5].into()),
        ("without its first line", text[dashes.len()..].into()),
        ("without its last line", text.replace("-----END CERTIFICATE-----\n", "").into()),
        ("first line ends in four dashes", text.replacen(dashes, &dashes[..dashes.len() - 1], 1).into()),
        ("behind a byte order mark", format!("\u{feff}{text}").into()),
        ("behind a blank", format!(" {text}").into()),
        ("in UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a character that is not base64", text.replacen("MII", "M!I", 1).into()),
        ("padding in the middle", text.replacen("MII", "M=I", 1).into()),
        ("one character of base64 too few", text.replacen("MII", "MI", 1).into()),
        ("a NUL byte in the base64", text.replacen("MII", "M\0I", 1).into()),
        ("an empty block", format!("{dashes}\n-----END CERTIFICATE-----\n").into()),
        ("a block in a block", format!("{dashes}\n{text}-----END CERTIFICATE-----\n").into()),
        ("garbage between two", [text.as_bytes(), &[0xff; 40], b"\n", text.as_bytes()].concat()),
        ("half a certificate between two", format!("{text}{}\n{text}", &text[..half]).into()),
        ("loose base64 between two", format!("{text}{}\n{text}", "A".repeat(64)).into()),
        ("a trusted certificate", text.replace("CERTIFICATE", "TRUSTED CERTIFICATE").into()),
        ("a misspelt label", text.replace("CERTIFICATE", "CERTIFCATE").into()),
        ("labels that differ", text.replace("END CERTIFICATE", "END X509 CERTIFICATE").into()),
        ("a line without end", vec![b'A'; 1 << 20]),
        ("a hundred thousand empty blocks", format!("{dashes}\n-----END CERTIFICATE-----\n").repeat(100_000).into()),
    ]
}

/// The DER in it.
fn encodings() -> Vec<Case> {
    let good = good().der;
    let with = |old: &[u8], new: &[u8]| replaced(&good, old, new);
    let (length, signed) = (&good[..4], usize::from(good[6]));
    vec![
        ("DER cut in the middle", good[..good.len() / 2].to_vec()),
        ("DER cut by a byte", good[..good.len() - 1].to_vec()),
        ("DER with a byte more", [&good[..], &[0]].concat()),
        ("PEM with a byte more", pem(&[&good[..], &[0]].concat()).into()),
        ("PEM of nothing but a header", pem(&[0x30, 0x82, 0x01, 0x00]).into()),
        ("PEM of an empty sequence", pem(&[0x30, 0]).into()),
        ("PEM of a number", pem(&[2, 1, 1]).into()),
        ("length of 4 GiB", with(length, &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff])),
        ("length of 2^64", pem(&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).into()),
        ("length of a length of 126", pem(&[0x30, 0xfe, 1, 1, 1]).into()),
        ("indefinite length", pem(&with(length, &[0x30, 0x80])).into()),
        ("ten thousand sequences in each other", pem(&(0..10_000).fold(vec![], |inner, _| der(0x30, &inner))).into()),
        ("a megabyte of zeros", pem(&der(0x30, &vec![0; 1 << 20])).into()),
        ("negative serial number", with(&[2, 4, 0x7f, 0x11], &[2, 4, 0xff, 0x11])),
        (
            "empty serial number",
            // The header of all and of what is signed, version, serial number, the rest of what is signed, the rest of all.
            der(
                0x30,
                &[der(0x30, &[&good[7..12], &[2, 0], &good[18..7 + signed]].concat()), good[7 + signed..].to_vec()]
                    .concat(),
            ),
        ),
        ("version 4", with(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 3])),
        ("version 1 with extensions", with(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 0])),
        ("month 99", with(b"260101000000Z", b"269901000000Z")),
        ("a date of letters", with(b"260101000000Z", b"26AAAA000000Z")),
        ("no seconds and no Z", with(b"260101000000Z", b"2601010000000")),
        ("from 1950 on", with(b"260101000000Z", b"500101000000Z")),
        ("until before it begins", with(b"480101000000Z", b"250101000000Z")),
        ("signed by another algorithm than it says", {
            let oid = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
            let other = [0x30, 5, 6, 3, 0x2b, 0x65, 0x71];
            with(&oid, &other)
        }),
    ]
}

/// The fields of it, each well-formed as DER.
fn contents() -> Vec<Case> {
    let long = server(&["a.example"]).years(2026, 2050).self_signed().der;
    let dated = |date: &[u8]| replaced(&long, b"20500101000000Z", date);
    let alternative = |entries: &[(u8, &[u8])]| server(&[]).alternative(entries).self_signed().der;
    let long_names: Vec<String> = (0..10_000).map(|n| format!("n{n}.shop.example")).collect();
    let many: Vec<(u8, &[u8])> = long_names.iter().map(|name| (0x82, name.as_bytes())).collect();
    let bad: Vec<(u8, &[u8])> = vec![(0x82, b""); 10_000];
    let any = &[1, 3, 6, 1, 4, 1, 99_999, 1];
    let extension = |critical| server(&["a.example"]).extension(any, critical, vec![5, 0]);
    vec![
        ("year 0", dated(b"00000101000000Z")),
        ("year 9999", dated(b"99991231235959Z")),
        ("February 30", dated(b"20500230000000Z")),
        ("a leap second", dated(b"20500101235960Z")),
        ("an unknown extension", extension(false).self_signed().der),
        ("an unknown critical extension", extension(true).self_signed().der),
        ("an extension twice", extension(false).extension(any, false, vec![5, 0]).self_signed().der),
        ("two lists of names", server(&["a.example"]).alternative(&[(0x82, b"b.example")]).self_signed().der),
        ("key usage that is text", server(&[]).extension(&[2, 5, 29, 15], true, b"no".to_vec()).self_signed().der),
        ("an empty list of names", alternative(&[])),
        ("an empty name", alternative(&[(0x82, b"")])),
        ("a name with a NUL", alternative(&[(0x82, b"a.example\0.evil.example")])),
        ("a name in UTF-8", alternative(&[(0x82, "größe.example".as_bytes())])),
        ("a name that is no UTF-8", alternative(&[(0x82, b"a\xff.example")])),
        ("a name with an escape", alternative(&[(0x82, b"\x1b[2Ja.example")])),
        ("a wildcard in the middle", alternative(&[(0x82, b"a.*.example"), (0x82, b"a.example")])),
        ("a wildcard for everything", alternative(&[(0x82, b"*"), (0x82, b"a.example")])),
        ("a wildcard within a label", alternative(&[(0x82, b"a*.b.example"), (0x82, b"a.example")])),
        ("an address of 5 bytes", alternative(&[(0x87, &[10, 0, 0, 1, 0])])),
        ("a name of an unknown kind", alternative(&[(0x89, b"x")])),
        ("ten thousand names", alternative(&[&many[..], &[(0x82, b"a.example")]].concat())),
        ("ten thousand empty names", alternative(&bad)),
        ("no names at all", server(&[]).self_signed().der),
    ]
}

/// Several of them.
fn chains() -> Vec<Case> {
    let one = chain(server(&["a.example"]));
    let other = authority("Other").self_signed();
    let (leaf, middle, root) = (&one.server.pem, &one.middle.pem, &one.root.pem);
    let torn = &middle[..middle.len() / 2];
    let expired = server(&["old.example"]).years(2020, 2021).self_signed().pem;
    let future = server(&["new.example"]).years(2047, 2049).self_signed().pem;
    vec![
        ("a good chain", format!("{leaf}{middle}").into()),
        ("a good chain with its root", format!("{leaf}{middle}{root}").into()),
        ("the wrong way round", format!("{root}{middle}{leaf}").into()),
        ("an unrelated one", format!("{leaf}{}", other.pem).into()),
        ("a duplicate", format!("{leaf}{middle}{middle}").into()),
        ("expired", expired.clone().into()),
        ("not yet valid", future.into()),
        ("an ill-formed one before one that has expired", format!("{torn}\n{expired}").into()),
        ("an ill-formed one within a chain", format!("{leaf}{torn}\n{expired}").into()),
        ("a thousand ill-formed ones", format!("{torn}\n").repeat(1_000).into()),
    ]
}

#[test]
fn corpus() {
    let cases = [files(), encodings(), contents(), chains()].concat();
    let mut fixture = fixture();
    for (index, (_, content)) in cases.iter().enumerate() {
        let wanted =
            Wanted { names: Some(vec!["a.example".into()]), ..in_file(fixture.file(&format!("{index}.pem"), content)) };
        fixture = fixture.with_certificate(wanted);
    }
    let fixture = fixture.signed();
    let run = fixture.json();
    let value = run.value();
    let mut table = String::new();
    for (index, (name, _)) in cases.iter().enumerate() {
        let outcome = &value["outcomes"][index + 1];
        let text = |key: &str| outcome[key].as_str().unwrap_or_default().to_string();
        let reason = text("reason").replace(fixture.at(&format!("{index}.pem")).to_str().unwrap(), "FILE");
        writeln!(table, "{name}\n    {} {}", text("status"), plain(&reason)).unwrap();
        for warning in outcome["warnings"].as_array().into_iter().flatten() {
            writeln!(table, "    warning: {}", plain(warning.as_str().unwrap())).unwrap();
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check/certificates.golden");
    if std::env::var_os("PORTCULLIS_BLESS").is_some() {
        fs::write(&golden, &table).unwrap();
    }
    let expected = fs::read_to_string(golden).unwrap();
    for (line, (came, wanted)) in table.lines().zip(expected.lines()).enumerate() {
        assert_eq!(came, wanted, "certificates.golden:{}", line + 1);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

/// Without what differs from day to day: the present moment.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split("actual 20").enumerate() {
        match index {
            0 => plain.push_str(part),
            // `26-11-20T12:00:00Z`
            _ => write!(plain, "actual now{}", part.get(18..).unwrap_or_default()).unwrap(),
        }
    }
    plain.trim_end().into()
}
