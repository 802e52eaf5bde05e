"""`worker onboard`: a file of customers becomes subscribers. `batch run` is the same for any command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import batch_options as of
from worker.cli import show
from worker.cli.batch_run import CREATE, guarded, platform_of, run_file, sheet_of
from worker.cli.context import USAGE, Fault, Json, settings_of


def mount(app: typer.Typer) -> None:
    app.command(epilog=of.BATCH_EXIT_CODES)(onboard)


def onboard(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="[init] FILE", help="`init FILE` writes a mapping to start from.")
    ],
    platform: of.PlatformName = None,
    mapping: of.Mapping = None,
    batch: of.Name = None,
    resume: of.Resume = False,
    retry_failed: of.RetryFailed = False,
    dry_run: of.DryRun = False,
    against_platform: of.Against = False,
    skip_bad: of.SkipBad = False,
    max_rows: of.MaxRows = None,
    max_share_bad: of.MaxShareBad = None,
    repeats: of.Repeats = False,
    undoable: of.Undoable = False,
    follow: of.Follow = False,
    within: of.Within = None,
    report: of.Report = None,
    problems: of.ProblemsFile = None,
    passwords: of.Passwords = None,
    passwords_key: of.PasswordsKey = None,
    passphrase_file: of.PassphraseFile = None,
    in_flight: of.InFlight = 500,
    rate: of.Rate = None,
    encoding: of.Encoding = None,
    delimiter: of.Delimiter = None,
    sheet: of.SheetName = None,
    as_json: Json = False,
) -> None:
    """Make a subscriber of each row, and what else its columns ask for."""
    if files[0] == "init" and len(files) == 2:
        _init(context, Path(files[1]), platform, mapping, (encoding, delimiter, sheet))
        return
    if len(files) != 1:
        raise typer.BadParameter("one FILE, or `init FILE`")
    wish = of.wish_of(batch, resume, skip_bad, max_rows, max_share_bad, repeats, undoable, problems)
    given = of.Given(
        Path(files[0]), platform, mapping, (CREATE,), True, wish, encoding, delimiter, sheet, retry_failed, dry_run,
        against_platform, follow, within, report, passwords, passwords_key, passphrase_file, in_flight, rate, as_json,
    )  # fmt: skip
    run_file(context, given)


# ---------------------------------------------------------------- init


def _init(
    context: typer.Context,
    file: Path,
    platform: str | None,
    output: Path | None,
    how: tuple[str | None, str | None, str | None],
) -> None:
    """Write a mapping that fits the file's columns as far as can be guessed."""
    from worker.onboarding.matching import mapping_text

    settings = settings_of(context)
    kind = settings.kinds[platform_of(settings, platform)]
    sheet = guarded(lambda: sheet_of(file, *how))
    target = output or file.with_suffix(".mapping.toml")
    if target.exists():
        raise Fault(f"{target} is there already: name another with --mapping", USAGE)
    try:
        target.write_text(mapping_text(file.name, sheet.columns, CREATE, kind), encoding="utf-8")
    except OSError as error:
        raise Fault(f"{target}: cannot be written ({error.strerror})", USAGE) from None
    show.say(f"{file.name}: {sheet.how}, {len(sheet.columns)} columns")
    show.say(f"{target} is written: complete what is marked MISSING, then")
    show.say(f"  worker onboard {file} --mapping {target} --dry-run")
