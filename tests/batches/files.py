"""Files of customers, made as a person's spreadsheet would save them."""

from __future__ import annotations

import csv
import itertools
import random
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

DOMAIN = "sip.example"
COLUMNS = ("Telefone", "Nome", "E-mail", "Crédito", "Bloqueado")
MAPPING = f"""
[[command]]
type = "subscriber.create"
[command.data]
"subscriber.username" = {{ column = "Telefone", do = ["phone_br_55"] }}
"subscriber.domain" = "{DOMAIN}"
password = {{ generate = 16 }}
portal_password = {{ generate = 12 }}
profile = "residential"
rate_plan_id = 3
email = {{ column = "E-mail", do = ["strip", "lower"] }}
country_code = 55
area_code = 11
call_limit = 2
first_name = {{ column = "Nome" }}

[[command]]
type = "credit.add"
when = {{ column = "Crédito", filled = true }}
[command.data]
"subscriber.username" = {{ column = "Telefone", do = ["phone_br_55"] }}
"subscriber.domain" = "{DOMAIN}"
amount = {{ column = "Crédito", do = ["decimal_comma"] }}
"""

Row = tuple[str, ...]


def customers(count: int, bad: float = 0.0, seed: int = 1) -> Iterator[Row]:
    """Every fourth one has a credit; `bad`: the share whose telephone is none."""
    chance = random.Random(seed)
    for place in range(count):
        phone = f"(11) 9{place // 10000 + 6000:04}-{place % 10000:04}"
        if chance.random() < bad:
            phone = f"(20) {place}"
        yield phone, f"João {place}", f"c{place}@{DOMAIN}", "1.010,50" if place % 4 == 0 else "", ""


def username(place: int) -> str:
    return f"55119{place // 10000 + 6000:04}{place % 10000:04}"


def write_csv(
    path: Path, rows: Iterator[Row] | Sequence[Row], encoding: str = "utf-8", delimiter: str = ";"
) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path


def write_xlsx(path: Path, rows: Iterator[Row] | Sequence[Row]) -> Path:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("clientes")
    sheet.append(COLUMNS)
    for row in rows:
        sheet.append(row)
    book.save(path)
    return as_excel_does(path)


def write_large_xlsx(path: Path, rows: Iterator[Row]) -> Path:
    """As Excel writes it, streamed: a million rows in little memory, each text in the table that cells point into.

    No two texts are the same: the worst case for whoever reads the table.
    """
    small = path.with_suffix(".small.xlsx")
    with zipfile.ZipFile(write_xlsx(small, [])) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    small.unlink()
    parts.pop(SHEET), parts.pop(TEXTS)
    texts = path.with_suffix(".texts")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        texts.open("wb") as apart,
    ):
        for name, content in parts.items():
            archive.writestr(name, content)
        apart.write(b"<sst %s>" % NAMESPACE)
        with archive.open(SHEET, "w", force_zip64=True) as sheet:
            sheet.write(b"<worksheet %s><sheetData>" % NAMESPACE)
            place = 0
            for number, row in enumerate(itertools.chain([COLUMNS], rows), 1):
                filled = [(letter, text) for letter, text in zip("ABCDE", row, strict=True) if text]
                cells = "".join(
                    f'<c r="{letter}{number}" s="1" t="s"><v>{place + n}</v></c>'
                    for n, (letter, _) in enumerate(filled)
                )
                place += len(filled)
                sheet.write(f'<row r="{number}" spans="1:5" ht="15" customHeight="1">{cells}</row>'.encode())
                apart.write("".join(f"<si><t>{escape(text)}</t></si>" for _, text in filled).encode())
            sheet.write(b"</sheetData></worksheet>")
        apart.write(b"</sst>")
        apart.close()
        archive.write(texts, TEXTS)
    texts.unlink()
    return path


SHEET, TEXTS = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
INLINE = re.compile(
    rb'<c r="([A-Z]+[0-9]+)" t="inlineStr"><is><t(?: xml:space="preserve")?>(.*?)</t></is></c>', re.DOTALL
)
TABLE = (
    b'<Override PartName="/xl/sharedStrings.xml" ContentType='
    b'"application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
)
NAMESPACE = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def as_excel_does(path: Path) -> Path:
    """The workbook with its texts in a table that cells point into, as Excel writes them."""
    with zipfile.ZipFile(path) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    places: dict[bytes, int] = {}

    def shared(found: re.Match[bytes]) -> bytes:
        place = places.setdefault(found[2], len(places))
        return b'<c r="%s" t="s"><v>%d</v></c>' % (found[1], place)

    parts[SHEET] = INLINE.sub(shared, parts[SHEET])
    texts = b"".join(b'<si><t xml:space="preserve">%s</t></si>' % text for text in places)
    parts[TEXTS] = b"<sst %s>%s</sst>" % (NAMESPACE, texts)
    parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(b"</Types>", TABLE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path
