"""`python -m worker.messages.sippulse`: bring the table of docs/sippulse.md up to the catalogue."""

from pathlib import Path

from worker.messages.sippulse.page import page

if __name__ == "__main__":
    file = Path(__file__).resolve().parents[3] / "docs" / "sippulse.md"
    file.write_text(page(file.read_text(encoding="utf-8")), encoding="utf-8")
