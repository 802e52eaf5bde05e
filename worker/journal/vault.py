"""Encryption of what may hold secrets or personal data, and the keys of identity and audit.

The first key encrypts, all decrypt. The keys of identity (rule 4.5) and of the audit chain are
derived (HKDF-SHA-256) from the LAST key, which therefore stays when keys are rotated.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class KeyMissing(Exception):
    """What is stored was encrypted with a key that this process was not given."""


def new_key() -> str:
    """A fresh key as it stands in a key file: 32 random bytes, URL-safe base64."""
    return Fernet.generate_key().decode()


class Vault:
    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: at least one, each 32 bytes in URL-safe base64. Raises ValueError otherwise."""
        self._fernet = MultiFernet([Fernet(key.encode()) for key in keys])
        last = base64.urlsafe_b64decode(keys[-1])
        self._identity = _derive(last, b"provisioning-worker identity")
        self._audit = _derive(last, b"provisioning-worker audit")
        self.fingerprint = _derive(last, b"provisioning-worker check").hex()[:32]

    def __repr__(self) -> str:
        return f"Vault({self.fingerprint})"

    def seal(self, value: Any) -> str:
        return self.seal_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def seal_bytes(self, value: bytes) -> str:
        return self._fernet.encrypt(value).decode()

    def open(self, token: str) -> Any:
        return json.loads(self.open_bytes(token))

    def open_bytes(self, token: str) -> bytes:
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise KeyMissing(
                "stored under a key that this worker was not given: see [journal] keys"
            ) from None

    def can_open(self, token: str) -> bool:
        try:
            self._fernet.decrypt(token)
        except InvalidToken:
            return False
        return True

    def rotate(self, token: str) -> str:
        """The same content under the first key."""
        try:
            return self._fernet.rotate(token).decode()
        except InvalidToken:
            raise KeyMissing(
                "stored under a key that this worker was not given: see [journal] keys"
            ) from None

    def content_mac(self, content: bytes) -> str:
        """Identity of a message's content. Keyed, because a PIN behind a plain hash could be guessed."""
        return hmac.digest(self._identity, content, "sha256").hex()

    def audit_mac(self, previous: str, data: bytes) -> str:
        return hmac.digest(self._audit, previous.encode() + b"\n" + data, "sha256").hex()


def _derive(key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def pair_hash(source: str, name: str) -> str:
    """One short value for (source, id) or (source, key); both parts may be long."""
    return hashlib.sha256(f"{len(source)}:{source}{name}".encode()).hexdigest()
