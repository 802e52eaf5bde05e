"""No secret stands in the repository, and one that did would be found."""

from __future__ import annotations

import base64
import secrets
import string
import subprocess

import pytest

from tests.security.certificates import Authority
from tests.security.secret_scan import KNOWN, ROOT, found_in, kinds, scan, tracked
from worker.journal.vault import new_key

SIGNS = string.ascii_letters + string.digits


def signs(count: int) -> str:
    return "".join(secrets.choice(SIGNS) for _ in range(count))


def test_the_repository_holds_no_secret() -> None:
    assert [str(find) for find in scan()] == []


def test_all_of_the_repository_is_looked_at() -> None:
    names = tracked()
    assert {"README.md", "pyproject.toml", ".ci/run", "tests/security/secret_scan.py"} <= set(names)
    assert set(KNOWN) <= set(names), "an exception for a file that is gone"


def test_secrets_of_every_form_would_be_found() -> None:
    """Made here and now, so that none of them stands in this file."""
    web = ".".join("eyJ" + signs(20) for _ in range(2)) + "." + signs(30)
    planted = {
        "a private key": Authority("a").server("b").key.decode().splitlines()[0],
        "a key of a journal": f'keys = ["{new_key()}"]',
        "an AWS key": "AKIA" + signs(16).upper(),
        "a GitHub token": "ghp_" + signs(36),
        "a GitLab token": "glpat-" + signs(20),
        "a Slack token": "xoxb-" + signs(24),
        "a Google key": "AIza" + signs(35),
        "a Stripe key": "sk_live_" + signs(24),
        "a token of a package registry": "pypi-AgE" + signs(60),
        "a signed web token": web,
        "a login for HTTP": f"Authorization: Basic {base64.b64encode(signs(20).encode()).decode()}",
        "a password in an address": f"amqp://worker:{signs(8)}@rabbit.operator.net/",
    }
    for what, text in planted.items():
        assert what in set(kinds(text)), what


def test_what_looks_like_chance_is_found_nearly_always() -> None:
    tries = [f'token = "{signs(32)}"' for _ in range(200)] + [
        f"'{secrets.token_hex(20)}'" for _ in range(200)
    ]
    missed = [text for text in tries if not list(kinds(text))]
    assert len(missed) < 20


@pytest.mark.parametrize(
    "text",
    [
        "amqp://guest:guest@127.0.0.1:5672/",
        'password = { env = "SIPPULSE_PASSWORD" }',
        "blockIncommingCallsOfOneSubscriberAndAllItsNumbers",
        "provisioning.command.succeeded.v1",
        'password="a-sip-secret"',
    ],
)
def test_what_everybody_may_read_is_left_alone(text: str) -> None:
    assert list(kinds(text)) == []


def test_a_find_is_told_without_the_secret() -> None:
    token = "ghp_" + signs(36)
    (found,) = {str(find) for find in found_in("a.py", f"\nx = '{token}'")} - {
        "a.py:2: a text that looks like chance"
    }
    assert found == "a.py:2: a GitHub token"


def test_a_file_that_is_not_committed_yet_is_seen() -> None:
    """Ignored ones (a settings file with its key, the runs' folder) are not: they are never committed."""
    ignored = subprocess.run(["git", "check-ignore", ".run/worker.key"], cwd=ROOT, check=False).returncode
    assert ignored == 0
    assert not any(name.startswith((".run/", ".venv/")) for name in tracked())
