"""Whose calls: the account as call records name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ACCOUNT = "accountcode IN (%(account)s, %(account_lower)s)"  # both spellings, so that an index serves


@dataclass(frozen=True, slots=True)
class Account:
    username: str
    domain: str

    @property
    def arguments(self) -> dict[str, str]:
        """As it was sent, and with the domain in lower case, as the platform keeps it."""
        return {
            "account": f"{self.username}@{self.domain}",
            "account_lower": f"{self.username}@{self.domain.lower()}",
        }

    def is_account(self, code: Any) -> bool:
        """Whether an accountcode is this one: the domain in any case, the user as it is."""
        username, _, domain = str(code).rpartition("@")
        return username == self.username and domain.lower() == self.domain.lower()
