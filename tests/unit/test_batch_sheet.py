"""Files of rows as they are found: every dialect, and what is no file of rows."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from tests.batches.files import NAMESPACE, SHEET, as_excel_does, customers, write_large_xlsx
from worker.onboarding.parts import Texts, elements
from worker.onboarding.sheet import Options, SheetError, open_sheet

TABLE = [
    ["Telefone", "Nome", "Observação"],
    ["11987654321", "João", 'diz "olá",\r\ntodo dia'],
    ["1133334444", "Zoë; Cia", ""],
]


def rows(path: Path, **options: Any) -> list[dict[str, Any]]:
    sheet = open_sheet(path, Options(**options))
    found = list(sheet.rows())
    assert [row.flaw for row in found] == [None] * len(found)
    return [dict(row.cells) for row in found]


def wanted() -> list[dict[str, str]]:
    return [dict(zip(TABLE[0], row, strict=True)) for row in TABLE[1:]]


def csv_text(delimiter: str, quoting: Any = csv.QUOTE_MINIMAL, end: str = "\r\n") -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(TABLE)
    return file.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["minimal", "all"])
@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["crlf", "lf"])
def test_delimiters_quotes_and_line_breaks_inside_cells(
    tmp_path: Path, delimiter: str, quoting: int, end: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(csv_text(delimiter, quoting, end).encode())
    assert rows(file) == wanted()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_encodings_are_found_out(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(csv_text(";").encode(encoding))
    assert rows(file) == wanted()


def test_utf8_that_begins_late_is_not_taken_for_cp1252(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a;b\n" + "x;y\n" * 500_000 + "ção;€\n", encoding="utf-8")
    sheet = open_sheet(file)
    assert "utf-8" in sheet.how
    assert list(sheet.rows())[-1].cells == {"a": "ção", "b": "€"}


def test_a_byte_that_cp1252_does_not_have_is_latin_1(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"a;b\nJo\xe3o;\x81\n")
    assert "latin-1" in open_sheet(file).how


def test_excels_sep_line_quotes_of_one_stroke_and_backslashes(tmp_path: Path) -> None:
    announced, single, escaped = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    announced.write_text("sep=;\nTelefone;Nome\n1;a,b,c\n")
    single.write_text("'Telefone';'Nome'\n'1';'a;b'\n")
    escaped.write_text('"Telefone","Nome"\n"1","a \\"b\\", c"\n')
    assert rows(announced) == [{"Telefone": "1", "Nome": "a,b,c"}]
    assert rows(single) == [{"Telefone": "1", "Nome": "a;b"}]
    assert rows(escaped) == [{"Telefone": "1", "Nome": 'a "b", c'}]


def test_a_person_may_say_what_cannot_be_found_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("a:b\n1:Łódź\n".encode("iso8859-2"))
    assert rows(file, encoding="iso8859-2", delimiter=":") == [{"a": "1", "b": "Łódź"}]


def test_one_column_is_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("Telefone\n1\n\n2\n")
    assert [(row.number, row.cells["Telefone"]) for row in open_sheet(file).rows()] == [
        (2, "1"),
        (4, "2"),
    ] or [row.cells["Telefone"] for row in open_sheet(file).rows()] == ["1", "2"]


def test_a_row_with_too_many_cells_is_bad_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("a,b\n1,2\n1,2,3\n4\n")
    flaws = [row.flaw for row in open_sheet(file).rows()]
    assert [bool(flaw) for flaw in flaws] == [False, True, False]
    assert "3 cells" in str(flaws[1])


def book(path: Path, *table: list[Any], title: str = "clientes") -> Path:
    made = Workbook()
    sheet = made.active
    assert sheet is not None
    sheet.title = title
    for row in table:
        sheet.append(row)
    made.create_sheet("outra").append(["x"])
    made.save(path)
    return path


def test_a_workbook_gives_numbers_dates_and_shared_texts(tmp_path: Path) -> None:
    file = book(
        tmp_path / "a.xlsx", ["Telefone", "Valor", "Desde", "Sim"], [11987654321.0, 10.5, date(2026, 1, 2), True], ["x", None, None, None],
    )  # fmt: skip
    assert rows(file) == [
        {"Telefone": 11987654321, "Valor": 10.5, "Desde": "2026-01-02", "Sim": True},
        {"Telefone": "x", "Valor": None, "Desde": None, "Sim": None},
    ]
    with pytest.raises(SheetError, match="no sheet 'falta'; it has clientes, outra"):
        open_sheet(file, Options(sheet="falta"))


def test_texts_that_cells_share_are_read_as_excel_writes_them(tmp_path: Path) -> None:
    table = [["Telefone", "Nome"], ["11987654321", "João & Zoë"], ["1133334444", "João & Zoë"]]
    file = as_excel_does(book(tmp_path / "a.xlsx", *table))
    assert rows(file) == [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_an_error_of_the_spreadsheet_is_a_bad_row(tmp_path: Path) -> None:
    file = book(tmp_path / "a.xlsx", ["a"], ["#N/A"], ["ok"])
    assert [bool(row.flaw) for row in open_sheet(file).rows()] == [True, False]


def test_json_lines_with_objects_inside(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"subscriber": {"username": "a"}, "kinds": ["outgoing"]}\n\n{"n": 1}\nnonsense\n[1]\n')
    found = list(open_sheet(file).rows())
    assert found[0].cells == {"subscriber.username": "a", "kinds": ["outgoing"]}
    assert [(row.number, bool(row.flaw)) for row in found] == [(1, False), (3, False), (4, True), (5, True)]


def test_a_field_that_only_a_late_line_has_is_a_column(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n' * 1500 + '{"a": 2, "late": {"one": "x"}}\n')
    sheet = open_sheet(file)
    assert sheet.columns == ("a", "late.one")
    assert list(sheet.rows())[-1].cells["late.one"] == "x"
    file.write_text("".join(f'{{"field{n}": 1}}\n' for n in range(1002)))
    with pytest.raises(SheetError, match=r"line 1001: .* more than 1000 fields"):
        open_sheet(file)


def bomb(path: Path) -> None:
    """Small, and 200 MB when it is unpacked."""
    book(path, ["a"], ["b"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", b"\0" * (200 << 20))


BAD = {
    "empty": (b"", "is empty"),
    "header only": (b"a;b\r\n", "no row below"),
    "binary": (bytes(range(256)) * 40, "binary"),
    "noise": (b"\x01\x02\x03\x7f\x80\xff" * 500, "binary"),
    "a picture": (b"\x89PNG\r\n\x1a\n123", "picture"),
    "a PDF": (b"%PDF-1.7", "PDF"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as .xlsx"),
    "a broken archive": (b"PK\x03\x04 and nothing", "XLSX"),
    "columns of one name": (b"a;a\n1;2\n", "two columns are called 'a'"),
    "no header": (b";;\n1;2;3\n", "no header"),
    "a cell of 10 MB": (b"a;b\n" + b"x" * (10 << 20) + b";1\n", "more than"),
    "a quote never closed": (b'a;b\n"' + b"x;1\n" * (1 << 20), "never closed"),
    "one JSON list": (b'[{"a": 1}]', "CSV|one JSON list"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_file_of_rows_is_refused_with_a_sentence(tmp_path: Path, what: str) -> None:
    content, said = BAD[what]
    file = tmp_path / ("a.json" if "JSON" in what else "a.csv")
    file.write_bytes(content)
    with pytest.raises(SheetError, match=said):
        list(open_sheet(file).rows())


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    bomb(file)
    with pytest.raises(SheetError, match="would unpack to 200 MB"):
        open_sheet(file)


def test_an_archive_that_is_no_workbook(tmp_path: Path) -> None:
    file = tmp_path / "a.xlsx"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "a;b")
    with pytest.raises(SheetError, match="unpack it first"):
        open_sheet(file)


def test_a_cell_of_10_mb_in_a_workbook_is_a_bad_row(tmp_path: Path) -> None:
    file = as_excel_does(book(tmp_path / "a.xlsx", ["a", "b"], ["x", "1"], ["z", "2"]))
    with zipfile.ZipFile(file) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    texts = parts["xl/sharedStrings.xml"]
    parts["xl/sharedStrings.xml"] = texts.replace(b">x<", b">" + b"xy " * (10 << 18) + b"<")
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    flaws = [row.flaw for row in open_sheet(file).rows()]
    assert "characters" in str(flaws[0])
    assert flaws[1] is None


def altered(path: Path, part: str, made: Any) -> Path:
    """The workbook with one of its parts made of what it was."""
    with zipfile.ZipFile(path) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    parts[part] = made(parts[part])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def sheet_of(*rows: bytes) -> Any:
    return lambda was: b"<worksheet %s><sheetData>%s</sheetData></worksheet>" % (NAMESPACE, b"".join(rows))


HEAD = b'<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'
LAUGHS = b'<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
HOSTILE = {
    "entities in a sheet": (SHEET, lambda was: LAUGHS + was, "declares XML entities"),
    "entities in another encoding": (
        SHEET,
        lambda was: ('<?xml version="1.0" encoding="utf-16"?>' + LAUGHS.decode() + "<a/>").encode("utf-16"),
        "declares XML entities",
    ),
    "entities among the names": ("xl/workbook.xml", lambda was: LAUGHS + was, "declares XML entities"),
    "an endless prologue": (SHEET, lambda was: b" " * (1 << 17) + was, "does not look like a workbook"),
    "a row of 200,000 cells": (SHEET, sheet_of(HEAD, b"<row>", b"<c/>" * 200_000, b"</row>"), "more cells"),
    "a text of 20 MB": (SHEET, sheet_of(HEAD, b"<row><c><v>", b"7" * (20 << 20), b"</v></c></row>"), "than 16 MB"),
    "styles of 5 MB": ("xl/styles.xml", lambda was: was + b" " * (5 << 20), "has 5 MB, at most 2"),
    "rows backwards": (SHEET, sheet_of(HEAD, b'<row r="3"/><row r="2"/>'), "row 2 follows row 3"),
    "a text that is not there": (SHEET, sheet_of(HEAD, b'<row><c t="s"><v>9</v></c></row>'), "IndexError"),
    "the other XLSX": (SHEET, lambda was: was.replace(b"schemas.openxml", b"purl.oc"), "Strict Open XML"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_workbook_is_refused_in_little_memory(tmp_path: Path, what: str) -> None:
    part, made, said = HOSTILE[what]
    file = altered(book(tmp_path / "a.xlsx", ["a"], ["b"]), part, made)
    tracemalloc.start()
    try:
        with pytest.raises(SheetError, match=said):
            list(open_sheet(file).rows())
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_row_that_says_it_is_the_billionth_costs_nothing(tmp_path: Path) -> None:
    far = b'<row r="1000000000"><c r="C1000000000"><v>1</v></c></row>'
    file = altered(book(tmp_path / "a.xlsx", ["a", "b", "c"], ["b"]), SHEET, sheet_of(
        b'<row r="1"><c r="A1" t="str"><v>a</v></c><c r="C1" t="str"><v>c</v></c></row>', far
    ))  # fmt: skip
    [row] = open_sheet(file).rows()
    assert (row.number, row.cells) == (1_000_000_000, {"a": None, "c": 1})


def most(work: Any) -> int:
    """Bytes at the peak of it."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_memory_for_a_workbook_does_not_grow_with_its_rows(tmp_path: Path) -> None:
    few, many = (write_large_xlsx(tmp_path / f"{n}.xlsx", customers(n)) for n in (500, 2000))
    peaks = [
        most(lambda file=file: list(map(len, (r.cells for r in open_sheet(file).rows()))))
        for file in (few, many)
    ]
    assert peaks[1] < peaks[0] + (500 << 10), peaks


def test_rows_and_texts_of_a_workbook_leave_nothing_behind() -> None:
    def rows(many: int) -> None:
        sheet = io.BytesIO(b"<s>" + b"<r><c/></r>" * many + b"</s>")
        assert sum(1 for _ in elements(Path("a.xlsx"), sheet, "r", "s")) == many

    def texts(many: int) -> None:
        found = Texts(Path("a.xlsx"))
        for n in range(many):
            found.append(f"ção {n}")
        found.finish()
        assert (found[0], found[many - 1], len(found)) == ("ção 0", f"ção {many - 1}", many)

    assert most(lambda: rows(40_000)) < most(lambda: rows(10_000)) + (500 << 10)
    assert most(lambda: texts(40_000)) < 500 << 10


def test_a_file_that_is_not_there_and_one_that_changes_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match="no such file"):
        open_sheet(tmp_path / "a.csv")
    file = tmp_path / "b.csv"
    file.write_text("a;b\n1;2\n")
    sheet = open_sheet(file)
    file.write_text("a;b\n1;2\n3;4\n")
    with pytest.raises(SheetError, match="was changed"):
        list(sheet.rows())


def test_the_content_has_one_hash_whatever_the_name(tmp_path: Path) -> None:
    hashes = set()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(json.dumps("x") + ";b\n1;2\n")
        hashes.add(open_sheet(tmp_path / name).sha256)
    assert len(hashes) == 1
