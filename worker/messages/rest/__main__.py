"""`python -m worker.messages.rest`: bring the tables of docs/<kind>.md up to the OpenAPI files."""

from pathlib import Path

from worker.messages.catalogue import KINDS
from worker.messages.rest.document import file_of
from worker.messages.rest.page import BEGIN, page

if __name__ == "__main__":
    for kind in KINDS:
        file = Path(__file__).resolve().parents[3] / "docs" / f"{kind}.md"
        if file_of(kind) is None or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8")
        if BEGIN in text:
            file.write_text(page(text, kind), encoding="utf-8")
