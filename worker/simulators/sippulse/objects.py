"""What the platform keeps beside subscribers: numbers, resellers, rates and the like, as rows of tables."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .soap import Scalar, Values

Row = Values
TABLES = (
    "addresses",
    "aliases",
    "dialplans",
    "dids",
    "groups",
    "huntgroups",
    "locations",
    "profiles",
    "rateplans",
    "rates",
    "resellers",
    "whitelist",
)


@dataclass(slots=True)
class Table:
    """Rows by name of field; `id` is given here."""

    rows: list[Row] = field(default_factory=list)
    next_id: int = 1

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def add(self, values: Mapping[str, Scalar]) -> Row:
        made = {**values, "id": self.next_id}
        self.next_id += 1
        self.rows.append(made)
        return made

    def find(self, same: Mapping[str, Scalar]) -> list[Row]:
        """The rows that have these values; domains are the same in any case."""
        return [
            row for row in self.rows if all(_same(name, value, row.get(name)) for name, value in same.items())
        ]


def _same(name: str, wanted: Scalar, found: Scalar) -> bool:
    if name == "domain":
        return str(wanted or "").lower() == str(found or "").lower()
    return (wanted or None) == (found or None)
