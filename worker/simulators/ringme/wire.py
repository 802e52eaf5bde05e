"""Answers as they go over the wire."""

import json
from collections.abc import Mapping
from typing import Any

from worker.simulators.common.exchange import Answer

JSON = "application/json"


def answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    body = b"" if status == 204 else json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, body, JSON, headers=dict(headers or {}))


def refused(code: int, status: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    said = {"status": status, "message": message} if status else {"message": message}
    return Answer(code, json.dumps(said).encode(), JSON, status or message, dict(headers or {}))
