"""`worker onboard`: a file of customers becomes subscribers. `batch run` is the same for any command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from worker.cli import batch_options as of
from worker.cli import show
from worker.cli.batch_run import CREATE, guarded, platform_of, run_file, sheet_of
from worker.cli.context import USAGE, Fault, Json, settings_of


class Onboard(TyperCommand):
    """`onboard FILE`, beside which `onboard init FILE` is a verb with a help of its own."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if args[:1] == ["init"]:
            return _init_command().make_context(f"{info_name} init", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def mount(app: typer.Typer) -> None:
    app.command(cls=Onboard, epilog=of.BATCH_EXIT_CODES)(onboard)


def _init_command() -> Any:
    one = typer.Typer(add_completion=False, rich_markup_mode=None)
    one.command(epilog=of.OTHER_EXIT_CODES)(init)
    return typer.main.get_command(one)


def onboard(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="[init] FILE", help="`init FILE` writes a mapping to start from: `init --help`."
        ),
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
    if files[0] == "init" and len(files) == 2:  # behind an option: `onboard --platform P init FILE`
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


def init(
    context: typer.Context,
    file: of.File,
    platform: of.PlatformName = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="Where it is written; else FILE with .mapping.toml.", show_default=False),
    ] = None,
    encoding: of.Encoding = None,
    delimiter: of.Delimiter = None,
    sheet: of.SheetName = None,
) -> None:
    """Write a mapping to start from: which column fills which field of subscriber.create.

    What can be guessed from the headers of FILE is filled in; what is needed and was not found is marked MISSING;
    all other fields, and an example of a further command of the same row, stand there as comments. Nothing is sent.
    Complete it, then: worker onboard FILE --mapping FILE.mapping.toml --dry-run
    """
    _init(context, file, platform, mapping, (encoding, delimiter, sheet))


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
