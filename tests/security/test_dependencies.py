"""What is pinned is hashed, free to be shipped, and kept by somebody; advisories are asked for, or it is said so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.security import dependencies
from tests.security.dependencies import NOT_ASKED, NotAsked, advisories, complaints, is_free, pins
from tests.services.private import need
from worker.sandbox.ports import free_port


def test_every_pin_is_hashed_free_and_kept() -> None:
    assert list(complaints()) == []


def test_no_program_under_another_licence_is_run_by_the_worker() -> None:
    shipped = {pin.name for pin in pins(dependencies.LOCKS["run"])}
    assert not shipped & dependencies.PROGRAMS.keys()


def test_a_pin_that_cannot_be_read_is_no_pass() -> None:
    names = {pin.name for pin in pins()}
    assert {"aiohttp", "lxml", "cryptography", "colorama", "pytest"} <= names
    with pytest.raises(ValueError, match="cannot be read"):
        dependencies._pin("lxml==6.1.3\n")


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_a_licence_that_binds_our_own_code_is_not_free(expression: str, free: bool) -> None:
    assert is_free(expression) is free


class Advisories(BaseHTTPRequestHandler):
    """Speaks OSV's protocol: one advisory about lxml."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        known = {"vulns": [{"id": "TEST-2026-1", "modified": "2026-01-01T00:00:00Z"}]}
        self._say({"results": [known if one["package"]["name"] == "lxml" else {} for one in asked]})

    def do_GET(self) -> None:
        affected = {
            "package": {"ecosystem": "PyPI", "name": "lxml"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
        said = {"id": "TEST-2026-1", "modified": "2026-01-01T00:00:00Z", "summary": "it reads too much"}
        self._say(said | {"affected": [affected]})

    def _say(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's output is not a server's log."""


@pytest.fixture
def source() -> Iterator[str]:
    need(dependencies.UV.exists(), "uv")
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_an_advisory_about_a_pin_is_found(source: str) -> None:
    version = next(pin.version for pin in pins() if pin.name == "lxml")
    assert advisories(source) == [f"lxml {version}: TEST-2026-1, it reads too much; mended in 99.1"]


def test_without_a_source_it_says_that_nobody_was_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that is away is never an all-clear."""
    nobody = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(NotAsked):
        advisories(nobody)
    monkeypatch.setenv("ADVISORIES", nobody)
    assert dependencies.main() == NOT_ASKED
    assert "NOT ASKED" in capsys.readouterr().out
