"""Generated passwords: only the operator's key or passphrase opens the file, and no kill spoils it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519

from worker.onboarding.passwords import Entry, Lock, Opener, PasswordFile, PasswordsError, read_passwords

PHRASE = b"correct horse battery"


def entry(row: int, password: str) -> Entry:
    return Entry(row, {"Telefone": str(row)}, {"0 password": password})


def written(path: Path, lock: Lock, *entries: Entry) -> None:
    file = PasswordFile(path, lock)
    file.add(entries)
    file.close()


def pair(folder: Path, key: rsa.RSAPrivateKey | x25519.X25519PrivateKey) -> tuple[Path, Path]:
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return public, private


@pytest.mark.parametrize("kind", ["rsa", "x25519"])
def test_the_operators_private_key_opens_what_his_public_key_closed(tmp_path: Path, kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else x25519.X25519PrivateKey.generate()
    public, private = pair(tmp_path, key)
    file = tmp_path / "p"
    written(file, Lock.to_key(public), entry(2, "secret-one"))
    written(file, Lock.to_key(public), entry(3, "secret-two"))
    assert [one.made["0 password"] for one in read_passwords(file, Opener.with_key(private))] == [
        "secret-one",
        "secret-two",
    ]
    assert b"secret" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_passphrase_does_too_and_another_does_not(tmp_path: Path) -> None:
    file = tmp_path / "p"
    written(file, Lock(passphrase=PHRASE), entry(2, "secret"))
    assert read_passwords(file, Opener(passphrase=PHRASE)) == [entry(2, "secret")]
    with pytest.raises(PasswordsError, match="nothing in it opens"):
        read_passwords(file, Opener(passphrase=b"another one entirely"))


def test_a_row_written_again_counts_once_and_the_last_time(tmp_path: Path) -> None:
    file = tmp_path / "p"
    written(file, Lock(passphrase=PHRASE), entry(3, "old"), entry(2, "two"))
    written(file, Lock(passphrase=PHRASE), entry(3, "new"))
    assert read_passwords(file, Opener(passphrase=PHRASE)) == [entry(2, "two"), entry(3, "new")]


def test_rows_with_the_same_key_columns_are_all_there(tmp_path: Path) -> None:
    """Several numbers of one client; and a sorted file gives one of them another row number."""
    file = tmp_path / "p"
    client = {"client": "17"}
    first, second = (Entry(n, client, {"0 password": f"secret-{n}"}, f"id-{n}") for n in (2, 3))
    moved = Entry(9, client, {"0 password": "secret-2"}, "id-2")
    written(file, Lock(passphrase=PHRASE), first, second)
    written(file, Lock(passphrase=PHRASE), moved)
    assert read_passwords(file, Opener(passphrase=PHRASE)) == [second, moved]


def test_a_line_that_was_torn_by_a_kill_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "p"
    written(file, Lock(passphrase=PHRASE), entry(2, "two"), entry(3, "three"))
    file.write_bytes(file.read_bytes()[:-20])
    written(file, Lock(passphrase=PHRASE), entry(4, "four"))
    assert [one.row for one in read_passwords(file, Opener(passphrase=PHRASE))] == [2, 4]


def test_two_runs_cannot_write_the_same_file(tmp_path: Path) -> None:
    first = PasswordFile(tmp_path / "p", Lock(passphrase=PHRASE))
    with pytest.raises(PasswordsError, match="another run"):
        PasswordFile(tmp_path / "p", Lock(passphrase=PHRASE))
    first.close()


def test_wrong_keys_and_files_are_told(tmp_path: Path) -> None:
    nothing = tmp_path / "x.pem"
    nothing.write_text("nothing")
    small, _ = pair(tmp_path, rsa.generate_private_key(65537, 1024))
    for work, said in (
        (lambda: Lock.to_key(nothing), "no public key"),
        (lambda: Lock.to_key(small), "2048 bits"),
        (lambda: Opener.with_key(nothing), "no private key"),
        (lambda: read_passwords(nothing, Opener(passphrase=PHRASE)), "no file of passwords"),
        (lambda: PasswordFile(tmp_path / "no" / "p", Lock(passphrase=PHRASE)), "cannot be written"),
    ):
        with pytest.raises(PasswordsError, match=said):
            work()


def test_secrets_are_in_no_repr() -> None:
    assert "secret" not in repr(entry(2, "secret")) + repr(Lock(passphrase=b"secret")) + repr(
        Opener(None, b"secret")
    )
