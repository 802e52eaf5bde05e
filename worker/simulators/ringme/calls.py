"""A request as the simulator understands it, and how it may be refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `operation` as in the OpenAPI file, e.g. client.update; `path` by the names in the template.

    `body` is parsed JSON (None: none), of the token endpoint the form. It may hold secrets: no repr.
    """

    operation: str
    changes: bool
    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"ringme.{self.operation}"

    def number(self, name: str) -> int:
        """An id in the path; @me stays for the caller's own."""
        text = self.path[name]
        if not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise Refusal(404, "not_found", "Record not found")
        return int(text)

    def fields(self) -> dict[str, Any]:
        """The body, which has to be an object."""
        if not isinstance(self.body, dict):
            raise Refusal(400, "bad_request", "The body has to be a JSON object")
        return dict(self.body)


class Refusal(Exception):
    """Answered with this HTTP code; `status` tells refusals of one code apart."""

    def __init__(
        self, code: int, status: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message
        self.headers = dict(headers or {})
