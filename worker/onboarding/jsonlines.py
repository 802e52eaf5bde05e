"""JSON Lines: one object a line; objects inside are columns with dots in their names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker.messages.parsing import parse
from worker.onboarding.delimited import encoding_of
from worker.onboarding.sheet import MOST_COLUMNS, Options, Row, SheetError

MOST_LINE = 1 << 20  # bytes


class JsonLines:
    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._encoding = options.encoding or encoding_of(path)
        self.how = f"JSON Lines, {self._encoding}"

    def columns(self) -> tuple[str, ...]:
        """Of all its lines: one may be the first to have a field."""
        names: dict[str, None] = {}
        for row in self.rows():
            names.update(dict.fromkeys(row.cells))
            if len(names) > MOST_COLUMNS:
                raise SheetError(
                    f"{self._path.name}, line {row.number}: the lines so far have more than {MOST_COLUMNS} fields of"
                    " different names: are names and values mixed up?"
                )
        return tuple(names)

    def rows(self) -> Iterator[Row]:
        try:
            with self._path.open(encoding=self._encoding) as file:
                for number in itertools.count(1):
                    line = file.readline(MOST_LINE + 1)
                    if not line:
                        return
                    if len(line) > MOST_LINE:
                        raise SheetError(
                            f"{self._path.name}, line {number}: it is longer than {MOST_LINE} characters"
                        )
                    if line.strip():
                        yield _row(number, line)
        except UnicodeError:
            raise SheetError(f"{self._path.name} is not {self._encoding}: say --encoding") from None


def _row(number: int, line: str) -> Row:
    parsed = parse(line.encode("utf-8", "surrogatepass"))
    if parsed.flaw:
        return Row(number, {}, parsed.flaw)
    if not isinstance(parsed.value, Mapping):
        return Row(number, {}, "it is not a JSON object")
    return Row(number, dict(_flat(parsed.value, "")))


def _flat(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}{name}.")
        else:
            yield path + name, inner
