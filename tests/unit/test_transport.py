"""The transport's words and clock, without a network."""

from __future__ import annotations

import socket
import ssl
import time

import aiohttp
import httpx
import pytest

from worker.platforms.transport import Lost, Phase, Transport, boottime
from worker.platforms.transport.client import WORDS, word_of
from worker.platforms.transport.wire import check_aiohttp


def test_only_phases_below_writing_say_that_nothing_was_sent() -> None:
    assert [phase for phase in Phase if not Lost(phase, "x").sent] == [
        Phase.WAITING,
        Phase.CONNECTING,
        Phase.CONNECTED,
    ]


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns"),
        (ssl.SSLCertVerificationError("self-signed"), "tls"),
        (ConnectionRefusedError(111, "refused"), "refused"),
        (aiohttp.ServerDisconnectedError(), "closed"),
        (aiohttp.ClientPayloadError("not completed"), "cut"),
        (aiohttp.ClientOSError(104, "reset"), "reset"),
        (BrokenPipeError(32, "pipe"), "reset"),
        (TimeoutError(), "timeout"),
        (OSError(113, "no route to host"), "unreachable"),
        (httpx.InvalidURL("http://token@"), "invalid_request"),
    ],
)
def test_the_word_comes_from_the_cause_not_from_the_class_it_was_wrapped_in(
    cause: Exception, word: str
) -> None:
    wrapped = httpx.ConnectTimeout("http://host/TOKEN")  # what httpx-aiohttp makes of a dropped answer
    wrapped.__cause__ = cause
    assert word_of(cause) == word_of(wrapped) == word


def test_an_unknown_error_is_named_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert word_of(KeyError("TOKEN")) == "unexpected"
    assert "TOKEN" not in capsys.readouterr().out


def test_words_are_short_and_hold_no_data() -> None:
    assert all(word.replace("_", "").isalpha() and word.islower() for _, word in WORDS)


def test_the_clock_of_leases_goes_on_while_the_machine_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_an_aiohttp_whose_repeats_cannot_be_switched_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_aiohttp()
    monkeypatch.setattr(aiohttp.ClientSession, "ATTRS", frozenset({"_connector"}))
    with pytest.raises(RuntimeError, match="repeats requests by itself"):
        Transport(timeout=1, keepalive=2, limit=1)
