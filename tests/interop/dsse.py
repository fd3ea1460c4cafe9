"""DSSE by securesystemslib.

    dsse.py verify ENVELOPE THRESHOLD PUBLIC_KEY...
    dsse.py sign ENVELOPE KEY     a new key, written to KEY and KEY.pub
    dsse.py id KEY PUBLIC_KEY     the key id of PROTOCOL.md, and that the two are a pair
"""

import hashlib
import json
import sys

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def spki_id(key):
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def verify(envelope, threshold, *paths):
    keys = [load_pem_public_key(read(path)) for path in paths]
    keys = [SSlibKey.from_crypto(key, keyid=spki_id(key)) for key in keys]
    accepted = Envelope.from_dict(json.loads(read(envelope))).verify(keys, int(threshold))
    assert len(accepted) >= int(threshold)


def sign(path, key):
    signer = CryptoSigner.generate_ed25519()
    envelope = Envelope.from_dict(json.loads(read(path)))
    envelope.sign(signer)
    write(path, json.dumps(envelope.to_dict()).encode())
    private = signer.private_bytes
    write(key, private)
    public = load_pem_private_key(private, None).public_key()
    write(key + ".pub", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def id_of(key, public):
    private = load_pem_private_key(read(key), None)
    assert spki_id(private.public_key()) == spki_id(load_pem_public_key(read(public)))
    private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    print(spki_id(private.public_key()))


{"verify": verify, "sign": sign, "id": id_of}[sys.argv[1]](*sys.argv[2:])
