"""What `onboard` and `batch` are told on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.context import actor

if TYPE_CHECKING:
    from worker.onboarding.job import Wish

PASSPHRASE = "WORKER_BATCH_PASSPHRASE"
BATCH_EXIT_CODES = """\
\b
Exit codes:
  0  all well: every row that was to be sent was sent (with --follow: and has succeeded)
  1  rows failed, are parked, have changed, or were left out: as bad (--skip-bad), or by an undo as not this batch's
  2  not sent, or not all: the sentence on standard error says why; run it again to go on
  4  --within ran out: the rows go on by themselves, see `worker batch show`
"""
OTHER_EXIT_CODES = """\
\b
Exit codes:
  0  it was done
  1  there is no such batch, or the file cannot be written; the sentence on standard error says what
  2  the command line, the settings, or the files given cannot be used
  3  the journal cannot be reached
"""

File = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, XLSX or JSON Lines.", show_default=False)]
PlatformName = Annotated[
    str | None,
    typer.Option("--platform", help="Name of a platform; not needed where there is one.", show_default=False),
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        "--mapping", help="TOML: which column is which field. See `onboard init`.", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--batch", help="Its name; else the file's and 8 digits of its content.", show_default=False
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with a known batch although its file has changed.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Send rows again that failed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, send nothing.")]
Against = Annotated[
    bool, typer.Option("--against-platform", help="Ask the platform whether what the rows name is there.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Send the good rows although others are bad.")]
MaxRows = Annotated[
    int | None, typer.Option(min=1, help="Send nothing if there are more.", show_default=False)
]
MaxShareBad = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Send nothing if a larger share is bad, e.g. 0.02.", show_default=False),
]
Repeats = Annotated[bool, typer.Option("--repeats", help="Create or top up again what an earlier batch did.")]
Undoable = Annotated[bool, typer.Option("--undoable", help="Keep the state before, for `batch undo`.")]
Follow = Annotated[bool, typer.Option("--follow", "--wait", help="Stay until every row has ended.")]
Within = Annotated[float | None, typer.Option(min=1, help="Seconds to follow at most.", show_default=False)]
Report = Annotated[
    Path | None,
    typer.Option("--report", help="A line a row, .csv or .xlsx; when the run ends.", show_default=False),
]
ProblemsFile = Annotated[
    Path | None,
    typer.Option("--problems", help="Report of bad rows; else BATCH.problems.csv.", show_default=False),
]
Passwords = Annotated[
    Path | None,
    typer.Option("--passwords", help="File for generated ones; else BATCH.passwords.", show_default=False),
]
PasswordsKey = Annotated[
    Path | None, typer.Option(help="Public key (PEM) that they are encrypted to.", show_default=False)
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help=f"File with a passphrase instead; or {PASSPHRASE}.", show_default=False)
]
InFlight = Annotated[
    int, typer.Option(min=0, help="Rows that were sent and have not ended, at most; 0: no limit.")
]
Rate = Annotated[float | None, typer.Option(min=0.01, help="Rows a second, at most.", show_default=False)]
Encoding = Annotated[
    str | None, typer.Option(help="Of a text file; found out without it.", show_default=False)
]
Delimiter = Annotated[
    str | None, typer.Option(help="Of a CSV file; found out without it.", show_default=False)
]
SheetName = Annotated[
    str | None, typer.Option("--sheet", help="Of a workbook; else its first.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Given:
    """What stood on the command line. `types`: without a mapping, the commands; the first is always made."""

    file: Path
    platform: str | None
    mapping: Path | None
    types: tuple[str, ...]
    creates: bool
    wish: Wish
    encoding: str | None
    delimiter: str | None
    sheet: str | None
    retry_failed: bool
    dry_run: bool
    against: bool
    follow: bool
    within: float | None
    report: Path | None
    passwords: Path | None
    passwords_key: Path | None
    passphrase_file: Path | None
    in_flight: int
    rate: float | None
    as_json: bool


def wish_of(
    batch: str | None,
    resume: bool,
    skip_bad: bool,
    max_rows: int | None,
    max_share_bad: float | None,
    repeats: bool,
    undoable: bool,
    problems: Path | None,
) -> Wish:
    from worker.onboarding.job import Wish

    return Wish(batch, resume, skip_bad, max_rows, max_share_bad, repeats, undoable, actor(), problems)
