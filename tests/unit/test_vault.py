"""Encryption with rotating keys, and the keys of identity and audit that never rotate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.journal.vault import KeyMissing, Vault, new_key, pair_hash

OLD, NEW, OTHER = new_key(), new_key(), new_key()


@given(st.binary())
def test_what_is_sealed_can_be_opened(value: bytes) -> None:
    vault = Vault([OLD])
    assert vault.open_bytes(vault.seal_bytes(value)) == value


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(json_like)
def test_values_come_back_as_they_were(value: object) -> None:
    vault = Vault([OLD])
    assert vault.open(vault.seal(value)) == value


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    token = Vault([OLD]).seal("x")
    both = Vault([NEW, OLD])
    assert both.open(token) == "x"
    fresh = both.seal("y")
    assert Vault([NEW]).open(fresh) == "y"
    assert not Vault([OLD]).can_open(fresh)


def test_rotation_puts_the_same_content_under_the_first_key() -> None:
    token = Vault([OLD]).seal({"a": 1})
    rotated = Vault([NEW, OLD]).rotate(token)
    assert Vault([NEW]).open(rotated) == {"a": 1}


def test_a_missing_key_is_told_without_the_content() -> None:
    token = Vault([OLD]).seal("secret-word")
    for act in (Vault([OTHER]).open, Vault([OTHER]).rotate, Vault([OTHER]).open_bytes):
        with pytest.raises(KeyMissing, match=r"\[journal\] keys") as caught:
            act(token)
        assert "secret" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_a_changed_token_does_not_open() -> None:
    vault = Vault([OLD])
    token = vault.seal("x")
    assert not vault.can_open(token[:-8] + "AAAAAAAA")


def test_identity_audit_and_fingerprint_come_from_the_last_key() -> None:
    before, after, other = Vault([OLD]), Vault([NEW, OLD]), Vault([OLD, NEW])
    assert before.content_mac(b"x") == after.content_mac(b"x") != other.content_mac(b"x")
    assert before.audit_mac("0", b"x") == after.audit_mac("0", b"x") != other.audit_mac("0", b"x")
    assert before.fingerprint == after.fingerprint != other.fingerprint


def test_identity_and_audit_have_keys_of_their_own() -> None:
    vault = Vault([OLD])
    assert vault.audit_mac("", b"x") != vault.content_mac(b"\nx")


def test_the_previous_record_is_part_of_a_records_mac() -> None:
    vault = Vault([OLD])
    assert vault.audit_mac("a", b"x") != vault.audit_mac("b", b"x")


def test_the_fingerprint_tells_nothing_of_the_key() -> None:
    vault = Vault([OLD])
    assert repr(vault) == f"Vault({vault.fingerprint})"
    assert OLD not in repr(vault)
    assert len(vault.fingerprint) == 32


@pytest.mark.parametrize("key", ["", "short", "ä" * 44, "A" * 43])
def test_what_is_no_key_is_refused_without_being_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="32") as caught:
        Vault([key])
    assert not key or key not in str(caught.value)


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Vault([])


@given(st.text(), st.text(), st.text(), st.text())
def test_two_pairs_share_a_hash_only_if_they_are_the_same(a: str, b: str, c: str, d: str) -> None:
    assert (pair_hash(a, b) == pair_hash(c, d)) is ((a, b) == (c, d))
