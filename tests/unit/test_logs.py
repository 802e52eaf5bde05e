"""Logs: one line an event, secrets in none of them."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from lxml import etree
from zeep.xsd.types.builtins import Integer

from worker.logs import DOUBLED, TALKATIVE, configure, is_secret, without_secrets
from worker.settings import LogSettings


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in (*TALKATIVE, *DOUBLED)}
    yield
    root.handlers, root.level = handlers, level
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def lines():
    stream = io.StringIO()
    configure(LogSettings(level="debug"), stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_keys(lines):
    with structlog.contextvars.bound_contextvars(command="c-1"):
        structlog.get_logger("worker.engine").info("attempt.settled", took_ms=12.5)
    line = lines()[0]
    assert line["event"] == "attempt.settled"
    assert (line["command"], line["took_ms"], line["level"]) == ("c-1", 12.5, "info")
    assert line["timestamp"].endswith("Z")


def test_the_libraries_logs_come_the_same_way(lines):
    logging.getLogger("some.library").warning("slow %s", "answer", extra={"password": "s3cret"})
    line = lines()[0]
    assert (line["event"], line["logger"], line["password"]) == ("slow answer", "some.library", "***")


def test_libraries_that_write_bodies_are_quiet_below_warning(lines):
    for name in ("zeep.transports", "httpx", "aiormq.connection", "faststream.access"):
        logging.getLogger(name).debug("HTTP Post with s3cret")
        logging.getLogger(name).info("HTTP Post with s3cret")
    assert lines() == []


def test_an_answer_that_is_no_number_is_not_quoted_by_the_library_that_reads_it(lines):
    assert Integer().parse_xmlelement(etree.fromstring("<id>s3cret</id>")) is None
    assert lines() == []


def test_values_named_like_secrets_are_masked_however_deep(lines):
    log = structlog.get_logger()
    log.info("x", password="s3cret", data={"portal_password": "s3cret", "a": [{"pinCode": "s3cret"}]}, n=1)
    log.info("x", headers={"Authorization": "s3cret"}, voiceMailPassword=1234, api_key="s3cret")
    assert "s3cret" not in json.dumps(lines())
    assert "1234" not in json.dumps(lines())
    assert lines()[0]["n"] == 1


def test_a_traceback_holds_no_local_variable(lines):
    def fails(password):
        raise ValueError("refused")

    try:
        fails("s3cret")
    except ValueError:
        structlog.get_logger().exception("attempt.failed")
    line = lines()[0]
    assert line["exception"][0]["exc_value"] == "refused"
    assert "s3cret" not in json.dumps(line)


def test_the_console_form_is_for_eyes_and_holds_no_secret_either():
    stream = io.StringIO()
    configure(LogSettings(format="console"), stream)
    try:
        secret = "s3cret"
        raise ValueError("refused")
    except ValueError:
        structlog.get_logger().exception("attempt.failed", token=secret)
    structlog.get_logger().debug("not.shown")
    text = stream.getvalue()
    assert "attempt.failed" in text
    assert "refused" in text
    assert "s3cret" not in text
    assert "not.shown" not in text


@pytest.mark.parametrize(
    "name", ["password", "new_password", "passwordPortal", "pin", "pinCode", "traceToken"]
)
def test_names_of_secrets_are_known(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["pinned", "keeping", "shipping", "platform", "idempotencykey", "spinning", "key"]
)
def test_other_names_are_not_taken_for_secrets(name):
    assert not is_secret(name)


def test_nesting_has_a_bottom():
    deep: dict = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert "***" in json.dumps(without_secrets(deep))
