//! Envelopes that hold, and attacks on them, each by its name.

use alloc::{
    string::{String, ToString as _},
    vec,
};

use base64::engine::general_purpose::STANDARD_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TYPE: &str = "application/x";

fn key(seed: u8) -> SigningKey {
    SigningKey::generate(&[seed; 32])
}

fn trusting(seeds: &[u8], threshold: usize) -> TrustedKeys {
    TrustedKeys::new(seeds.iter().map(|&seed| key(seed).public()).collect(), threshold).unwrap()
}

fn signed_by(seeds: &[u8]) -> Envelope {
    let mut envelope = Envelope::unsigned(TYPE, b"payload".into());
    seeds.iter().for_each(|&seed| envelope.sign(&key(seed)));
    envelope
}

fn parse(envelope: &Value) -> Result<Envelope, SignatureError> {
    Envelope::parse(envelope.to_string().as_bytes(), &EnvelopeLimits::MESSAGE)
}

fn as_value(envelope: &Envelope) -> Value {
    serde_json::from_slice(&envelope.to_json()).unwrap()
}

#[test]
fn the_pre_authentication_encoding_of_the_specification() {
    // The example of DSSE v1.0.2, protocol.md.
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("ä", b""), "DSSEv1 2 ä 0 ".as_bytes(), "bytes are counted, not characters");
}

#[test]
fn rfc_8032_test_2() {
    let seed = b"\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f\x5b\x8a\x31\x9f\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb";
    let key = SigningKey::generate(seed);
    assert_eq!(key.public().to_bytes()[..4], [0x3d, 0x40, 0x17, 0xc3]);
    assert_eq!(key.sign(&[0x72])[..4], [0x92, 0xa0, 0x09, 0xa9]);
}

#[test]
fn there_and_back() {
    let envelope = signed_by(&[1, 2]);
    let read = Envelope::parse(&envelope.to_json(), &EnvelopeLimits::MANIFEST).unwrap();
    assert_eq!(read, envelope);
    let verified = read.verify(TYPE, &trusting(&[1, 2, 3], 2)).unwrap();
    assert_eq!(verified.payload, b"payload");
    let mut ids = [key(1).public().key_id(), key(2).public().key_id()];
    ids.sort();
    assert_eq!(verified.signers, ids);
}

#[test]
fn keys_there_and_back() {
    let pem = key(1).to_pem();
    assert_eq!(SigningKey::from_pem(&pem).unwrap().public(), key(1).public());
    assert_eq!(SigningKey::from_pem(&pem.replace('\n', "\r\n")).unwrap().public(), key(1).public());
    let public = key(1).public();
    assert_eq!(PublicKey::from_pem(&public.to_pem()), Ok(public));
    assert_eq!(PublicKey::from_bytes(&public.to_bytes()), Ok(public));
    assert!(alloc::format!("{:?}", key(1)).contains(&public.key_id()), "and nothing else");
    for text in ["", "x", &public.to_pem(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert_eq!(SigningKey::from_pem(text).unwrap_err(), KeyError::NotAPrivateKey, "{text}");
    }
    for text in ["", "x", &*pem, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert_eq!(PublicKey::from_pem(text).unwrap_err(), KeyError::NotAPublicKey, "{text}");
    }
}

#[test]
fn weak_key() {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    for bytes in [[0; 32], one, minus_one] {
        assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Weak), "{bytes:?}");
    }
}

#[test]
fn second_spelling_of_a_key() {
    // y + p for small y is the same point, if it is one: none of the spellings may pass.
    for y in 0..19 {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + y, 0x7f);
        assert!(PublicKey::from_bytes(&bytes).is_err(), "{y}");
        bytes[31] = 0xff;
        assert!(PublicKey::from_bytes(&bytes).is_err(), "{y} with sign");
    }
}

#[test]
fn payload_changed() {
    let mut envelope = signed_by(&[1]);
    envelope.payload.push(b'!');
    assert_eq!(envelope.verify(TYPE, &trusting(&[1], 1)), Err(SignatureError::Threshold { signers: 0, threshold: 1 }));
}

#[test]
fn payload_type_changed() {
    let mut envelope = signed_by(&[1]);
    let expected = SignatureError::PayloadType { expected: "other".into(), actual: TYPE.into() };
    assert_eq!(envelope.clone().verify("other", &trusting(&[1], 1)), Err(expected));
    envelope.payload_type = "other".into();
    assert!(envelope.verify("other", &trusting(&[1], 1)).is_err(), "it is signed with the payload");
}

#[test]
fn untrusted_signer() {
    assert!(signed_by(&[1]).verify(TYPE, &trusting(&[2], 1)).is_err());
    assert!(signed_by(&[]).verify(TYPE, &trusting(&[2], 1)).is_err());
    assert!(signed_by(&[1, 2]).verify(TYPE, &trusting(&[2], 1)).is_ok(), "others may sign, too");
}

#[test]
fn one_key_counted_twice() {
    let mut envelope = signed_by(&[1]);
    let again = Signature { key_id: Some("another id".into()), ..envelope.signatures[0].clone() };
    envelope.signatures.push(again);
    let two = trusting(&[1, 2], 2);
    assert_eq!(envelope.verify(TYPE, &two), Err(SignatureError::Threshold { signers: 1, threshold: 2 }));
    let twice = vec![key(1).public(), key(1).public()];
    assert_eq!(TrustedKeys::new(twice.clone(), 2), Err(KeyError::Threshold { threshold: 2, keys: 1 }));
    assert!(TrustedKeys::new(twice, 1).is_ok());
}

#[test]
fn threshold_out_of_range() {
    for (seeds, threshold) in [(&[1][..], 0), (&[1], 2), (&[], 0), (&[], 1)] {
        let keys = seeds.iter().map(|&seed| key(seed).public()).collect();
        assert!(TrustedKeys::new(keys, threshold).is_err(), "{threshold} of {seeds:?}");
    }
    let many = (0..=u8::try_from(KEYS_MAX).unwrap()).map(|seed| key(seed).public()).collect();
    assert_eq!(TrustedKeys::new(many, 1), Err(KeyError::TooMany { keys: KEYS_MAX + 1 }));
}

#[test]
fn key_id_is_a_hint() {
    let mut envelope = signed_by(&[1]);
    envelope.signatures[0].key_id = Some(key(2).public().key_id());
    assert!(envelope.clone().verify(TYPE, &trusting(&[2], 1)).is_err(), "the id proves nothing");
    assert!(envelope.clone().verify(TYPE, &trusting(&[1], 1)).is_ok(), "nor does it harm");
    envelope.signatures[0].key_id = None;
    assert!(envelope.verify(TYPE, &trusting(&[1], 1)).is_ok());
}

#[test]
fn signature_of_another_kind_is_skipped() {
    let mut envelope = signed_by(&[1]);
    envelope.signatures.insert(0, Signature { key_id: None, bytes: vec![0; 71] });
    envelope.signatures.insert(0, Signature { key_id: None, bytes: vec![0xff; 64] });
    assert!(envelope.verify(TYPE, &trusting(&[1], 1)).is_ok());
}

#[test]
fn malleable_signature() {
    // S + L verifies under RFC 8032's equation but is not the canonical S.
    const L: [u8; 32] =
        *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
    let mut envelope = signed_by(&[1]);
    let mut carry = 0;
    for (byte, l) in envelope.signatures[0].bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(envelope.verify(TYPE, &trusting(&[1], 1)).is_err());
}

#[test]
fn signing_again_replaces() {
    let mut envelope = signed_by(&[1, 2]);
    envelope.sign(&key(1));
    assert_eq!(envelope.signatures.len(), 2);
    envelope.signatures[0].key_id = None;
    envelope.sign(&key(2));
    assert_eq!(envelope.signatures.len(), 2, "found by its bytes, too");
    assert!(envelope.verify(TYPE, &trusting(&[1, 2], 2)).is_ok());
}

#[test]
fn unknown_fields_are_ignored() {
    let mut envelope = as_value(&signed_by(&[1]));
    envelope["new"] = json!({"a": [null, -1.5]});
    envelope["signatures"][0]["cert"] = json!(null);
    assert!(parse(&envelope).unwrap().verify(TYPE, &trusting(&[1], 1)).is_ok());
}

#[test]
fn both_base64_alphabets_strictly() {
    // 0xfb 0xff needs the letters that differ.
    let with = |payload: &str| parse(&json!({"payloadType": TYPE, "payload": payload, "signatures": []}));
    for payload in ["+/8=", "-_8="] {
        assert_eq!(with(payload).unwrap().payload, b"\xfb\xff", "{payload}");
    }
    assert_eq!(with("").unwrap().payload, b"");
    for payload in ["+_8=", "+/8", "+/9=", "+/8=\n", " +/8=", "+/8==", "+/8=AAAA", "=", "ä"] {
        assert_eq!(with(payload), Err(SignatureError::Base64 { field: "payload".into() }), "{payload}");
    }
    let mut envelope = as_value(&signed_by(&[1]));
    envelope["signatures"][0]["sig"] = STANDARD_NO_PAD.encode(&signed_by(&[1]).signatures[0].bytes).into();
    assert_eq!(parse(&envelope), Err(SignatureError::Base64 { field: "signatures.0.sig".into() }));
}

#[test]
fn refused() {
    let whole = r#"{"payloadType":"t","payload":"","signatures":[]}"#;
    assert!(Envelope::parse(whole.as_bytes(), &EnvelopeLimits::MESSAGE).is_ok());
    let many: Vec<_> = (0..=SIGNATURES_MAX).map(|_| r#"{"sig":""}"#).collect();
    for (text, reason) in [
        (String::new(), "unexpected end"),
        (alloc::format!("{whole}x"), "trailing data"),
        (whole.replace('}', r#","payload":""}"#), "duplicate key `payload`"),
        (whole.replace('}', r#","new":1,"new":1}"#), "duplicate key `new`"),
        (whole.replace('}', r#","new":{"a":1,"a":1}}"#), "duplicate key `a`"),
        (whole.replace(r#""payload":"","#, ""), "missing field `payload`"),
        (whole.replace(r#","signatures":[]"#, ""), "missing field `signatures`"),
        (whole.replace("[]", "null"), "`null` is not allowed"),
        (whole.replace("[]", r#"[{"keyid":null,"sig":""}]"#), "`null` is not allowed"),
        (whole.replace("[]", r#"[["",""]]"#), "expected an object"),
        (whole.replace("[]", "[{}]"), "missing field `sig`"),
        (whole.replace("[]", &alloc::format!("[{}]", many.join(","))), "more than 16 elements"),
        (whole.replace('}', &alloc::format!(r#","new":{}1{}}}"#, "[".repeat(16), "]".repeat(16))), "nested deeper"),
        (r#"["t","",[]]"#.into(), "expected an object"),
    ] {
        let error = Envelope::parse(text.as_bytes(), &EnvelopeLimits::MESSAGE).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}\nexpected: {reason}");
    }
}

#[test]
fn too_large() {
    let limits = EnvelopeLimits { bytes_max: 100, payload_bytes_max: 3 };
    let with = |payload: &str| {
        let text = json!({"payloadType": "t", "payload": payload, "signatures": []}).to_string();
        Envelope::parse(text.as_bytes(), &limits).map(|envelope| envelope.payload.len())
    };
    assert_eq!(with("AAAA"), Ok(3));
    assert_eq!(with("AAAAAA=="), Err(SignatureError::PayloadTooLarge { bytes_max: 3 }));
    assert_eq!(with("AAAAAAAAAAAAAAAA"), Err(SignatureError::PayloadTooLarge { bytes_max: 3 }));
    assert!(matches!(with(&"A".repeat(100)), Err(SignatureError::Json(_))));
}

proptest! {
    #[test]
    fn any_envelope_there_and_back(payload_type in any::<String>(), payload in any::<Vec<u8>>(), id in any::<Option<String>>(), sig in any::<Vec<u8>>()) {
        let mut envelope = Envelope::unsigned(&payload_type, payload);
        envelope.signatures.push(Signature { key_id: id, bytes: sig });
        prop_assert_eq!(Envelope::parse(&envelope.to_json(), &EnvelopeLimits::MESSAGE), Ok(envelope));
    }

    #[test]
    fn a_changed_byte_never_passes_for_the_original(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = signed_by(&[1]).to_json();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let verified = Envelope::parse(&bytes, &EnvelopeLimits::MESSAGE).and_then(|read| read.verify(TYPE, &trusting(&[1], 1)));
        prop_assert!(verified.is_err() || verified.unwrap().payload == b"payload");
    }
}
