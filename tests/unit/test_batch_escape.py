"""Cells of a report that a spreadsheet would take for something else."""

from __future__ import annotations

import io

from openpyxl import Workbook

from worker.onboarding.escape import escaped


def test_a_control_character_does_not_cost_the_whole_report() -> None:
    book = Workbook()
    book.active.append([escaped("ana\x0b\x00 souza"), escaped("=1+1"), escaped(7)])  # type: ignore[union-attr]  # a new one has a sheet
    book.save(io.BytesIO())
    assert escaped("ana\x0b souza") == "ana? souza"
