"""Generated passwords on their way to the operator: a file that only his key, or his passphrase, opens.

The file grows: each run begins a part with a header line, which carries what its key is made of, followed by a
line a row. A line is on the disk before its row is sent. A row may stand there more than once (a run that was
killed writes it again, with the same password); the last one counts.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MARK = "provisioning-worker-passwords"
NONCE, KEY = 12, 32  # bytes
SCRYPT = {"n": 2**15, "r": 8, "p": 1}
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
SMALLEST_RSA = 2048  # bits


class PasswordsError(Exception):
    """The file or the key cannot be used: the sentence says why."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What the file is encrypted to: a public key in PEM (X25519 or RSA), or a passphrase."""

    public: Any = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)

    @classmethod
    def to_key(cls, pem: Path) -> Lock:
        try:
            key = serialization.load_pem_public_key(pem.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise PasswordsError(f"{pem}: it is no public key in PEM ({type(error).__name__})") from None
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA:
            return cls(public=key)
        if isinstance(key, x25519.X25519PublicKey):
            return cls(public=key)
        raise PasswordsError(f"{pem}: the key has to be X25519, or RSA of {SMALLEST_RSA} bits or more")

    def part(self) -> tuple[dict[str, Any], bytes]:
        """A fresh key for a part of the file, and the header from which its owner makes it again."""
        if self.passphrase is not None:
            salt = os.urandom(16)
            return {"to": "passphrase", "salt": _text(salt), **SCRYPT}, _from_passphrase(
                self.passphrase, salt, **SCRYPT
            )
        if isinstance(self.public, rsa.RSAPublicKey):
            key = os.urandom(KEY)
            return {"to": "rsa", "key": _text(self.public.encrypt(key, OAEP))}, key
        ours = x25519.X25519PrivateKey.generate()
        point = ours.public_key().public_bytes_raw()
        return {"to": "x25519", "point": _text(point)}, _agreed(ours.exchange(self.public), point)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row's passwords, by "part field".

    `id` tells rows apart whose key columns are alike (several numbers of one client).
    """

    row: int
    keys: Mapping[str, str]
    made: Mapping[str, str] = field(repr=False)
    id: str = ""


class PasswordFile:
    """The file, open for one run. Nobody else writes it meanwhile."""

    def __init__(self, path: Path, lock: Lock) -> None:
        """Raises PasswordsError where it cannot be written, or another run writes it."""
        self.path = path
        is_new = not path.exists()
        try:
            self._file: IO[bytes] = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+")  # noqa: SIM115 - until close
        except OSError as error:
            raise PasswordsError(
                f"{path}: the passwords cannot be written there ({error.strerror})"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise PasswordsError(f"{path}: another run writes it now") from None
        header, key = lock.part()
        self._head = json.dumps({MARK: 1, **header}).encode()
        self._cipher = AESGCM(key)
        torn = not is_new and self._ends_in_a_line()
        self._write((b"\n" if torn else b"") + self._head + b"\n")
        if is_new:
            _sync_folder(path)

    def _ends_in_a_line(self) -> bool:
        """Whether a run was killed while it wrote."""
        size = self._file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        self._file.seek(size - 1)
        return self._file.read(1) != b"\n"

    def add(self, entries: Sequence[Entry]) -> None:
        """Returns when they are on the disk."""
        self._write(b"".join(self._line(one) for one in entries))

    def _line(self, one: Entry) -> bytes:
        nonce = os.urandom(NONCE)
        text = json.dumps(
            {"row": one.row, "id": one.id, "keys": dict(one.keys), "made": dict(one.made)}
        ).encode()
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text, self._head)) + b"\n"

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise PasswordsError(f"{self.path}: the passwords cannot be written ({error.strerror})") from None

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens the file: the private key in PEM, or the passphrase."""

    private: Any = field(default=None, repr=False)
    passphrase: bytes | None = field(default=None, repr=False)

    @classmethod
    def with_key(cls, pem: Path, passphrase: bytes | None = None) -> Opener:
        try:
            key = serialization.load_pem_private_key(pem.read_bytes(), passphrase)
        except (OSError, ValueError, TypeError) as error:
            raise PasswordsError(
                f"{pem}: it is no private key in PEM that can be opened ({type(error).__name__})"
            ) from None
        return cls(private=key)

    def key(self, header: Mapping[str, Any]) -> bytes | None:
        """The key of a part; None: this opener is not for it."""
        try:
            match header.get("to"):
                case "passphrase" if self.passphrase is not None:
                    sizes = {name: int(header[name]) for name in SCRYPT}
                    return _from_passphrase(self.passphrase, base64.b64decode(header["salt"]), **sizes)
                case "rsa" if isinstance(self.private, rsa.RSAPrivateKey):
                    return self.private.decrypt(base64.b64decode(header["key"]), OAEP)
                case "x25519" if isinstance(self.private, x25519.X25519PrivateKey):
                    point = base64.b64decode(header["point"])
                    return _agreed(
                        self.private.exchange(x25519.X25519PublicKey.from_public_bytes(point)), point
                    )
        except (ValueError, KeyError):
            return None
        return None


def read_passwords(path: Path, opener: Opener) -> list[Entry]:
    """All rows of the file, each once, in the order of their numbers. Raises PasswordsError."""
    found: dict[str, Entry] = {}
    for one in _entries(path, opener):
        found[one.id or json.dumps(dict(one.keys), sort_keys=True)] = one
    return sorted(found.values(), key=lambda one: one.row)


def _entries(path: Path, opener: Opener) -> Iterator[Entry]:
    head, cipher, opened = b"", None, False
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise PasswordsError(f"{path}: cannot be read ({error.strerror})") from None
    if not lines[0].startswith(b"{") or MARK.encode() not in lines[0]:
        raise PasswordsError(f"{path}: it is no file of passwords of this worker")
    for line in lines:
        if line.startswith(b"{"):
            head = line
            key = opener.key(json.loads(line))
            cipher = AESGCM(key) if key is not None else None
        elif line and cipher is not None and (text := _opened(cipher, line, head)) is not None:
            opened = True
            yield Entry(text["row"], text["keys"], text["made"], text.get("id", ""))
    if not opened and len([line for line in lines if line]) > 1:
        raise PasswordsError(f"{path}: nothing in it opens with this key or passphrase")


def _opened(cipher: AESGCM, line: bytes, head: bytes) -> Any:
    """None for a line that was torn by a kill, or that is under another key."""
    try:
        raw = base64.b64decode(line, validate=True)
        return json.loads(cipher.decrypt(raw[:NONCE], raw[NONCE:], head))
    except (ValueError, InvalidTag):
        return None


def _from_passphrase(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEY, n=n, r=r, p=p).derive(passphrase)


def _agreed(shared: bytes, point: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=KEY, salt=point, info=MARK.encode()).derive(shared)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _sync_folder(path: Path) -> None:
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
