"""Encryption of what may hold secrets or personal data, and the keys of identity and audit.

The first key encrypts, all decrypt. The keys of identity (rule 4.5) and of the audit chain are
derived (HKDF-SHA-256) from the LAST key, which therefore stays when keys are rotated.

Encrypted with AES-SIV (RFC 5297) and 16 random bytes: a random number that came twice would show only that
the same text was sealed twice. A sealed text is base64 of: which key (4 bytes), random bytes (16), the rest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.messages.events import dump

KEY, NAME, RANDOM = 32, 4, 16  # bytes


class KeyMissing(Exception):
    """What is stored was encrypted with a key that this process was not given."""


def new_key() -> str:
    """A fresh key as it stands in a key file: 32 random bytes, URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(KEY)).decode()


class Vault:
    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: at least one, each 32 bytes in URL-safe base64. Raises ValueError otherwise."""
        if not keys:
            raise ValueError("at least one key is needed")
        raw = [_raw(key) for key in keys]
        self._first = _name(raw[0])
        self._ciphers = {_name(key): AESSIV(_derive(key, b"encryption", 64)) for key in raw}
        self._identity = _derive(raw[-1], b"identity")
        self._audit = _derive(raw[-1], b"audit")
        self.fingerprint = _derive(raw[-1], b"check").hex()[:32]

    def __repr__(self) -> str:
        return f"Vault({self.fingerprint})"

    def seal(self, value: Any) -> str:
        return self.seal_bytes(dump(value))

    def seal_bytes(self, value: bytes) -> str:
        head = self._first + os.urandom(RANDOM)
        return base64.b64encode(head + self._ciphers[self._first].encrypt(value, [head])).decode()

    def open(self, token: str) -> Any:
        return json.loads(self.open_bytes(token))

    def open_bytes(self, token: str) -> bytes:
        try:
            sealed = base64.b64decode(token)
            head, rest = sealed[: NAME + RANDOM], sealed[NAME + RANDOM :]
            return self._ciphers[head[:NAME]].decrypt(rest, [head])
        except (KeyError, ValueError, InvalidTag):
            raise KeyMissing(
                "stored under a key that this worker was not given: see [journal] keys"
            ) from None

    def can_open(self, token: str) -> bool:
        try:
            self.open_bytes(token)
        except KeyMissing:
            return False
        return True

    def rotate(self, token: str) -> str:
        """The same content under the first key."""
        return self.seal_bytes(self.open_bytes(token))

    def content_mac(self, content: bytes) -> str:
        """Identity of a message's content. Keyed, because a PIN behind a plain hash could be guessed."""
        return hmac.digest(self._identity, content, "sha256").hex()

    def audit_mac(self, previous: str, data: bytes) -> str:
        return hmac.digest(self._audit, previous.encode() + b"\n" + data, "sha256").hex()


def _raw(key: str) -> bytes:
    try:
        raw = base64.b64decode(key.encode(), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY:
        raise ValueError(f"a key is {KEY} bytes in URL-safe base64, 44 signs in all")
    return raw


def _name(key: bytes) -> bytes:
    return _derive(key, b"name", NAME)


def _derive(key: bytes, purpose: bytes, length: int = 32) -> bytes:
    return HKDF(SHA256(), length=length, salt=None, info=b"provisioning-worker " + purpose).derive(key)


def pair_hash(source: str, name: str) -> str:
    """One short value for (source, id) or (source, key); both parts may be long."""
    return hashlib.sha256(f"{len(source)}:{source}{name}".encode()).hexdigest()
