"""A secret is found in a text whatever it is dressed in, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.redaction import Masker, mask_fields, secrets_in, shortened, without_secrets

SECRETS = ["Sekret&7", "p\"w'<ä>/+%1", "correct horse battery", "90817263", "çãõ-ß€", "a&amp;b"]

DRESSES: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "xml": escape,
    "xml attribute": lambda secret: quoteattr(secret)[1:-1],
    "html": html.escape,
    "xml twice": lambda secret: escape(escape(secret)),
    "xml ascii": lambda secret: escape(secret).encode("ascii", "xmlcharrefreplace").decode(),
    "url": lambda secret: quote(secret, safe=""),
    "path": quote,
    "form": quote_plus,
    "url in lower case": lambda secret: quote(secret, safe="").replace("%C3", "%c3").replace("%2F", "%2f"),
    "json": lambda secret: json.dumps(secret)[1:-1],
    "json utf-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "url in XML": lambda secret: escape(quote_plus(secret)),
    "XML in JSON": lambda secret: json.dumps(escape(secret))[1:-1],
    "every sign as an entity": lambda secret: "".join(f"&#x{ord(sign):04X};" for sign in secret),
    "repr": lambda secret: repr(secret)[1:-1],
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("dress", DRESSES)
def test_a_secret_is_masked_in_every_dress(secret: str, dress: str) -> None:
    dressed = DRESSES[dress](secret)
    masked = Masker([secret])(f"before {dressed} after")
    assert dressed not in masked
    assert masked.startswith("before ***")
    assert masked.endswith("*** after")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["", "admin:", "ab:", "xyz:", "x"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_inside_base64_is_masked_wherever_it_begins(secret: str, around: str, encode) -> None:  # type: ignore[no-untyped-def]  # two overloads of the library
    told = encode(f"{around}{secret}{around}".encode()).decode()
    masked = Masker([secret])(f"Basic {told}")
    assert "***" in masked
    kept = masked.removeprefix("Basic ").replace("***", "")
    assert len(kept) <= len(told) - len(secret)


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_text_around_a_secret_hides_it(secret: str, before: str, after: str) -> None:
    assert secret not in Masker([secret])(before + secret + after).replace("***", "\0")


def test_a_short_secret_is_masked_only_where_it_stands_alone() -> None:
    assert Masker(["12"])("pin 12, in 2012") == "pin ***, in 2012"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Masker(["secret", "secret-and-more"])("a secret-and-more b") == "a *** b"


def test_no_secrets_is_no_reason_to_fail() -> None:
    assert Masker(["", "   "])("text") == "text"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("<password>x1</password>", "<password>***</password>"),
        (
            "<ns:passwordPortal a='b'>x1</ns:passwordPortal>",
            "<ns:passwordPortal a='b'>***</ns:passwordPortal>",
        ),
        ("<voiceMailPassword>1</voiceMailPassword>", "<voiceMailPassword>***</voiceMailPassword>"),
        ("<password><![CDATA[a<b]]></password>", "<password>***</password>"),
        ("<password>cut off", "<password>***"),
        ("<password/><login>x</login>", "<password/><login>x</login>"),
        ("&lt;password&gt;x1&lt;/password&gt;", "&lt;password&gt;***&lt;/password&gt;"),
        ("<pinCode>77</pinCode>", "<pinCode>***</pinCode>"),
        ("<mapping>77</mapping>", "<mapping>77</mapping>"),
        ('{"new_password": "a\\"b", "x": 1}', '{"new_password": "***", "x": 1}'),
        ('{"pin": 1234, "x": 1}', '{"pin": "***", "x": 1}'),
        ('{"token":"cut', '{"token":"***"'),
        ('{"a": "{\\"password\\": \\"x1\\"}"}', '{"a": "{\\"password\\": "***"}"}'),
        ("no field here", "no field here"),
    ],
)
def test_a_field_is_masked_by_its_name(text: str, masked: str) -> None:
    assert mask_fields(text) == masked


def test_secrets_are_found_in_data_by_their_names() -> None:
    data = {"a": [{"portal_password": "p1"}], "voicemail_password": 7788, "name": "n", "password": None}
    assert sorted(secrets_in(data)) == ["7788", "p1"]
    assert without_secrets(data) == {
        "a": [{"portal_password": "***"}],
        "voicemail_password": "***",
        "name": "n",
        "password": None,
    }


def test_a_secret_across_the_cut_leaves_no_half_of_itself() -> None:
    secret = "abcdefghijklmnopqrstuvwxyz"
    for before in range(60, 100):
        text = "." * before + secret + "." * 2000
        assert not any(secret[:size] in Masker([secret]).cut(text.encode(), 100) for size in (4, 10, 25))


def test_a_secret_across_the_end_of_what_is_looked_at_is_dropped() -> None:
    secret = "abcdefghijklmnopqrstuvwxyz"
    many = (secret * 1000).encode()
    assert set(Masker([secret]).cut(many, 100)) <= {"*", "…"}


def test_a_cut_text_is_no_longer_than_asked_in_bytes() -> None:
    assert len(shortened("ä" * 100, 51).encode()) <= 51
    assert shortened("short", 51) == "short"
