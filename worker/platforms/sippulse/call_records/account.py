"""Whose calls: the account as call records name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# The likely spellings, so that an index serves. A column whose collation ignores case finds all others by them too.
ACCOUNT = "accountcode IN (%(account)s, %(account_lower)s, %(all_lower)s, %(user_upper)s)"


@dataclass(frozen=True, slots=True)
class Account:
    """`any_case`: a name that differs in case alone is the same one."""

    username: str
    domain: str
    any_case: bool = False

    @property
    def arguments(self) -> dict[str, str]:
        """As it was sent, and with the domain in lower case, as the platform keeps it."""
        domain = self.domain.lower()
        lower, upper = (
            (self.username.lower(), self.username.upper())
            if self.any_case
            else (self.username, self.username)
        )
        return {
            "account": f"{self.username}@{self.domain}",
            "account_lower": f"{self.username}@{domain}",
            "all_lower": f"{lower}@{domain}",
            "user_upper": f"{upper}@{domain}",
        }

    def is_account(self, code: Any) -> bool:
        """Whether an accountcode is this one: the domain in any case, the user as it is, or as `any_case` says."""
        username, _, domain = str(code).rpartition("@")
        if domain.lower() != self.domain.lower():
            return False
        return username == self.username or (self.any_case and username.lower() == self.username.lower())
