"""A spreadsheet becomes subscribers, once each, whatever happens on the way; and the report says what happened."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.batches.files import DOMAIN, MAPPING, Row, customers, username, write_csv, write_xlsx
from tests.support.amqp import command, eventually
from tests.support.stage import MODULE, PLATFORM, Stage, staged
from tests.support.worker import Finished
from worker.onboarding.passwords import Opener, read_passwords

pytestmark = [MODULE, pytest.mark.timeout(900)]
# A lease that a busy machine does not lapse; a customer is one row, a credit of every fourth another command.
stage = staged(rate=5000.0, lease_margin=20.0)
PHRASE = "correct horse battery"
LONG = 600.0
HERE = "sip:551140000001@sip.example"
ABOUT = {"platform": PLATFORM}
RECORD = {
    "password": "password-of-a-subscriber",
    "portal_password": "portal-password-of-a-subscriber",
    "profile": "residential",
    "rate_plan_id": 3,
    "email": "c@sip.example",
    "country_code": 55,
    "area_code": 11,
    "call_limit": 2,
}
WHO = f"""
"subscriber.username" = {{ column = "Ramal" }}
"subscriber.domain" = "{DOMAIN}"
"""
NUMBERS = f"""
[[command]]
type = "subscriber.create"
[command.data]
{WHO}
if_exists = "adopt"
{"".join(f"{name} = {json.dumps(value)}{chr(10)}" for name, value in RECORD.items())}

[[command]]
type = "number.assign"
when = {{ column = "Número", filled = true }}
[command.data]
{WHO}
number = {{ column = "Número" }}

[[command]]
type = "forwarding.set"
when = {{ column = "Desvio", filled = true }}
[command.data]
{WHO}
always = {{ column = "Desvio" }}
"""


async def onboard(stage: Stage, file: Path, *words: str, verb: tuple[str, ...] = ("onboard",)) -> Finished:
    if verb == ("onboard",):
        mapping = stage.folder / "mapping.toml"
        mapping.write_text(MAPPING, encoding="utf-8")
        words = ("--mapping", str(mapping), *words)
    return await stage.workers.worker(*verb, str(file), *words, within=LONG, WORKER_BATCH_PASSPHRASE=PHRASE)


async def subscribers(stage: Stage, **query: str) -> dict[str, dict[str, Any]]:
    found = (await stage.platform.ask("state", **query))["subscribers"]
    return {one["username"]: one for one in found}


def report(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def part(first: int, count: int) -> list[Row]:
    return list(customers(first + count))[first:]


async def debtors(stage: Stage, first: int, count: int) -> list[str]:
    names = [username(place) for place in range(first, first + count)]
    await stage.platform.subscribers(names, balance="1")
    return names


def list_of(path: Path, names: list[str]) -> Path:
    path.write_text("username,domain\n" + "".join(f"{name},{DOMAIN}\n" for name in names))
    return path


async def rate_plans(stage: Stage, many: int) -> None:
    """The simulator begins without any; customers are to have the third."""
    plan = {"domain": DOMAIN, "rateId": 1, "prepaId": True, "txConnection": 60, "cadency": 60}
    for place in range(many):
        data = {"platform": PLATFORM, "ratePlan": {**plan, "name": f"plan {place}"}}
        one = command("sippulse.RatePlanWS.insertRatePlan.v1", data)
        await stage.send(one)
        assert (await stage.ending(one["id"])).data["status"] == "succeeded"


async def test_3000_customers_with_faults_and_bad_rows_end_equal_on_both_sides(stage: Stage) -> None:
    many = (
        3000 if stage.journal is None else 600
    )  # the larger on one journal is enough for one run of the tests
    rows = list(customers(many, bad=0.02))
    bad = [row for row in rows if not row[0].startswith("(11)")]
    await stage.platform.fail("insertSubscriber", "lost", share=0.025, seconds=0.5)
    await stage.platform.fail(
        ["insertSubscriber", "addCredit"], "declared", share=0.025, text="internal error"
    )
    before = await stage.platform.ask("counts")
    out = stage.folder / "report.csv"
    file = write_csv(stage.folder / "clientes.csv", rows, "cp1252")
    await stage.here("platforms", "pause", PLATFORM, "--reason", "nothing is to end yet")
    words = ("--skip-bad", "--follow", "--report", str(out), "--batch", "friday")
    running = asyncio.create_task(onboard(stage, file, *words))
    try:
        await five_hundred_rows_in_flight(stage, running)
    finally:
        await stage.here("platforms", "resume", PLATFORM, "--reason", "go on")
    done = await running
    await stage.platform.heal()
    assert done.code == 1, done.out + done.err  # bad rows are not "all well"
    assert "generated passwords are in friday.passwords" in done.out
    lines = report(out)
    assert [int(line["row"]) for line in lines] == list(range(2, many + 2))
    endings = Counter(line["ending"] for line in lines)
    there = await subscribers(stage)
    after = await stage.platform.ask("counts")
    assert endings["not sent"] == len(bad)
    assert endings["succeeded"] + endings["failed"] + endings["not sent"] == many, endings
    # A row that failed may have made its subscriber: then it is the credit behind it that failed.
    made = {
        line["Telefone"] for line in lines if line["ending"] == "succeeded" or line["command"] == "credit.add"
    }
    assert len(made) == after["subscribers"] - before["subscribers"]
    assert {f"55{''.join(filter(str.isdigit, phone))}" for phone in made} <= there.keys()
    assert after["doubles"] == before["doubles"]
    credits = [row for row in rows if row[3] and row not in bad]
    booked = sum(
        line["ending"] == "succeeded" for line in lines if line["Telefone"] in {row[0] for row in credits}
    )
    assert after["credits"] - before["credits"] == booked
    assert len([line for line in lines if line["platform_ids"]]) >= len(made) - 1
    failed = [line for line in lines if line["ending"] == "failed"]
    assert all(line["code"] and line["message"] for line in failed)
    # Of a row whose create failed the credit was not tried; no other row skipped anything.
    for row, line in zip(rows, lines, strict=True):
        unmade = (line["ending"], line["command"]) == ("failed", "subscriber.create")
        assert line["skipped"] == ("credit.add" if unmade and row[3] else ""), line
    # What failed on the platform's account goes again, and only that.
    again = await onboard(
        stage, file, "--skip-bad", "--follow", "--batch", "friday", "--retry-failed", "--json"
    )
    assert again.json["sent"] == len(failed)
    assert again.json["rows"] == {"succeeded": many - len(bad), "not_sent": len(bad)}
    assert (await stage.platform.ask("counts"))["credits"] - before["credits"] == len(credits)


async def five_hundred_rows_in_flight(stage: Stage, running: asyncio.Task[Finished]) -> None:
    """So many are sent before one has ended, and no more (`--in-flight`)."""

    async def sent() -> bool:
        assert not running.done(), running.result()
        found = await stage.value("SELECT count(*) FROM batch_rows WHERE state IN ('sending', 'sent')")
        assert found <= 500
        return bool(found == 500)

    await eventually(sent, 240, 0.2, "500 rows in flight")


async def test_killed_ten_times_and_run_again_is_the_same_end(stage: Stage) -> None:
    rows = part(4000, 300)
    file = write_csv(stage.folder / "killed.csv", rows)
    mapping = stage.folder / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    before = await stage.platform.ask("counts")
    chance = random.Random(10)
    words = [
        sys.executable,
        "-m",
        "worker",
        "--config",
        str(stage.workers.file),
        "onboard",
        str(file),
        "--mapping",
        str(mapping),
    ]
    words += ["--batch", "killed", "--passwords", str(stage.folder / "killed.passwords"), "--in-flight", "60"]
    env = {**stage.workers._environment(), "WORKER_BATCH_PASSPHRASE": PHRASE}
    for kill in range(10):
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=stage.workers.folder,
            env=env,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        # At random while rows go out: so many more than the last one left, or it had nothing left to do.
        wanted = 25 * kill + chance.randrange(25)

        async def far_enough(wanted: int = wanted, process: Any = process) -> bool:
            sent = await stage.value(
                "SELECT count(*) FROM batch_rows r JOIN batches b ON b.id = r.batch_id WHERE b.name = 'killed'"
            )
            return bool(sent > wanted) or process.returncode is not None

        await eventually(far_enough, 120, 0.02, "rows written down")
        if process.returncode is None:
            process.kill()
        await process.wait()
    done = await onboard(
        stage,
        file,
        "--follow",
        "--batch",
        "killed",
        "--passwords",
        str(stage.folder / "killed.passwords"),
        "--json",
    )
    assert (done.code, done.json["rows"]) == (0, {"succeeded": 300}), done.out + done.err
    after = await stage.platform.ask("counts")
    assert after["subscribers"] - before["subscribers"] == 300
    assert (after["doubles"], after["credits"] - before["credits"]) == (before["doubles"], 75)
    # The operator's file holds the password that each subscriber has got.
    entries = read_passwords(stage.folder / "killed.passwords", Opener(passphrase=PHRASE.encode()))
    assert len(entries) == 300
    there = await subscribers(stage, secrets="1")
    for one in entries:
        phone = "55" + "".join(filter(str.isdigit, one.keys["Telefone"]))
        assert there[phone]["password"] == one.made["0 password"]
    assert (
        await stage.value("SELECT count(*) FROM batch_rows WHERE made_sealed IS NOT NULL AND state = 'done'")
        == 0
    )


async def test_a_sorted_file_sends_nothing_and_a_changed_row_is_listed(stage: Stage) -> None:
    rows = part(5000, 20)
    file = write_csv(stage.folder / "sorted.csv", rows)
    assert (await onboard(stage, file, "--batch", "sorted", "--follow")).code == 0
    write_csv(file, rows[::-1])
    done = await onboard(stage, file, "--batch", "sorted", "--follow")
    assert done.code == 2
    assert "known with other content" in done.err
    done = await onboard(stage, file, "--batch", "sorted", "--follow", "--resume", "--json")
    assert (done.code, done.json["sent"], done.json["sent_before"]) == (0, 0, 20), done.err
    changed = [(*rows[3][:1], "Outro Nome", *rows[3][2:]), *rows[4:], *part(5100, 2)]
    write_csv(file, changed)
    done = await onboard(stage, file, "--batch", "sorted", "--follow", "--resume")
    assert done.code == 1
    assert "sent 2 rows" in done.out
    assert "1 rows have changed since they were sent and were not sent again: rows 2" in done.out
    assert (await subscribers(stage))[username(5003)]["firstName"] == rows[3][1]
    # The same rows in a file of another name: the batch that made them is named.
    other = write_csv(stage.folder / "other.csv", rows[:5])
    done = await onboard(stage, other)
    assert done.code == 2
    assert "batch sorted has sent subscriber.create for it already" in done.out


async def test_checks_send_nothing_and_say_what_would_be_right(stage: Stage) -> None:
    await debtors(stage, 6000, 1)
    await rate_plans(stage, 3)
    rows = [*part(6000, 3), ("(20) 1", "x", "no-mail", "1", ""), *part(6002, 1)]
    file = write_xlsx(stage.folder / "check.xlsx", rows)
    before = await stage.platform.ask("counts")
    mapping = stage.folder / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    done = await stage.here("onboard", str(file), "--mapping", str(mapping))
    assert (done.code, "say for whom they are encrypted" in done.err) == (2, True), done.err
    done = await onboard(stage, file, "--dry-run", "--against-platform")
    assert done.code == 1
    assert "5 rows: 2 good (2 commands), 3 bad" in done.out, done.out
    assert "row 2: it exists on sippulse-br already" in done.out
    assert "row 5: 'Telefone' it has to begin with an area code" in done.out
    assert "row 6: 'Telefone' row 4 is about the same" in done.out
    problems = next(stage.workers.folder.glob("check-*.problems.csv"))
    assert {line["row"] for line in report(problems)} == {"2", "5", "6"}
    for words, said in (
        ((), "3 of 5 rows are bad"),
        (("--skip-bad", "--max-rows", "4"), "more than --max-rows 4"),
        (("--skip-bad", "--max-share-bad", "0.1"), "more than --max-share-bad 0.1"),
    ):
        done = await onboard(stage, file, "--against-platform", *words)
        assert (done.code, said in done.err) == (2, True), done.err
    assert (await stage.platform.ask("counts"))["subscribers"] == before["subscribers"]
    names = stage.folder / "names.csv"
    mapping = stage.folder / "wrong.toml"
    mapping.write_text(MAPPING.replace('profile = "residential"', 'profile = "gold"'), encoding="utf-8")
    write_csv(names, part(6100, 5))
    words = ("onboard", str(names), "--mapping", str(mapping), "--dry-run", "--against-platform")
    lists = await asked(stage, "listProfilesByDomain")
    done = await stage.workers.worker(*words)
    assert done.out.count("no such profile in sip.example: it has") == 5
    assert await asked(stage, "listProfilesByDomain") == lists + 1  # of one domain once, however many rows


async def asked(stage: Stage, operation: str) -> int:
    """How often the platform was."""
    found = (await stage.platform.ask("counts"))["operations"].get(operation)
    return int(found["received"]) if found else 0


async def test_undo_of_an_onboarding_removes_what_it_made_and_never_what_it_adopted(stage: Stage) -> None:
    """And numbers and forwardings are columns like others."""
    names = [username(place) for place in range(6500, 6504)]
    there = names[2:]  # before the batch, just as the file says
    for name in there:
        one = command(
            "subscriber.create.v1", {**ABOUT, "subscriber": {"username": name, "domain": DOMAIN}, **RECORD}
        )
        await stage.send(one)
        assert (await stage.ending(one["id"])).data["status"] == "succeeded"
    mapping, file = stage.folder / "numbers.toml", stage.folder / "numbers.csv"
    mapping.write_text(NUMBERS, encoding="utf-8")
    columns = zip(names, ("551130001000", "", "551130001001", ""), (HERE, "", "", HERE), strict=True)
    file.write_text(
        "Ramal;Número;Desvio\n" + "".join(f"{';'.join(row)}\n" for row in columns), encoding="utf-8"
    )
    words = ("onboard", str(file), "--mapping", str(mapping), "--batch", "numbers", "--undoable", "--follow")
    done = await stage.cli(*words, "--json")
    assert done.json["rows"] == {"succeeded": 4}
    assert await dids(stage) == {names[0]: "551130001000", names[2]: "551130001001"}
    assert {name: one.get("callFwd") or "" for name, one in (await subscribers(stage)).items() if name in names} == {
        names[0]: HERE, names[1]: "", names[2]: "", names[3]: HERE,
    }  # fmt: skip
    undo = ("batch", "undo", "numbers", "--reason", "wrong file")
    dry = await stage.here(*undo, "--dry-run")
    assert "3 rows are reversed, 1 are left as they are" in dry.out
    assert "row 5: what it was before is not known: the subscriber was there already" in dry.out
    done = await stage.cli(*undo, "--follow", "--json", code=1)
    assert done.json["rows"] == {"succeeded": 3, "not_sent": 1}
    left = {name: one for name, one in (await subscribers(stage)).items() if name in names}
    assert {name: one.get("callFwd") or "" for name, one in left.items()} == {names[2]: "", names[3]: HERE}
    assert await dids(stage) == {}


async def dids(stage: Stage) -> dict[str, str]:
    """Whose public numbers there are."""
    return {one["username"]: one["aliasUsername"] for one in (await stage.platform.ask("objects"))["dids"]}


async def test_undo_reverses_only_what_the_batch_changed(stage: Stage) -> None:
    names = await debtors(stage, 7000, 4)
    fraud, later = names[1], names[2]
    who = (f"subscriber.username={fraud}", f"subscriber.domain={DOMAIN}")
    await stage.cli("send", "calls.block", *who, "--wait")
    file = list_of(stage.folder / "debtors.csv", names)
    run = ("--command", "calls.block", "--undoable", "--follow", "--batch", "debtors")
    assert (await onboard(stage, file, *run, verb=("batch", "run"))).code == 0
    who = (f"subscriber.username={later}", f"subscriber.domain={DOMAIN}")
    await stage.cli("send", "calls.block", *who, "--id", "fraud-later", "--wait")
    dry = await stage.here("batch", "undo", "debtors", "--reason", "wrong list", "--dry-run", "--json")
    assert (dry.code, dry.json) == (0, {"undo_of": "debtors", "reversed": 2, "left": 1, "sent": 0})
    done = await stage.cli("batch", "undo", "debtors", "--reason", "wrong list", "--follow", code=1)
    assert "2 rows are reversed, 1 are left as they are" in done.out
    assert "it was changed since by calls.block fraud-later" in done.out
    there = await subscribers(stage)
    assert [there[name]["activeOutgoingCalls"] for name in names] == [True, False, False, True]
    again = await stage.cli(
        "batch", "undo", "debtors", "--reason", "wrong list", "--follow", "--json", code=1
    )
    assert json.loads(again.out)["sent"] == 0


async def test_undo_asks_of_each_row_when_its_turn_comes(stage: Stage) -> None:
    """Between the first and the last row of an undo may lie hours, and somebody's work."""
    names = await debtors(stage, 7100, 3)
    file = list_of(stage.folder / "late.csv", names)
    run = ("--command", "calls.block", "--undoable", "--follow", "--batch", "late")
    assert (await onboard(stage, file, *run, verb=("batch", "run"))).code == 0
    await stage.here("platforms", "pause", PLATFORM, "--reason", "nothing is to end yet")
    words = ("batch", "undo", "late", "--reason", "wrong list", "--follow", "--in-flight", "1", "--json")
    undoing = asyncio.create_task(stage.workers.worker(*words, within=LONG))

    async def first_is_sent() -> bool:
        query = (
            "SELECT count(*) FROM batch_rows r JOIN batches b ON b.id = r.batch_id WHERE b.name = 'late-undo'"
        )
        assert not undoing.done(), undoing.result()
        return bool(await stage.value(query) == 1)

    await eventually(first_is_sent, 120, 0.1, "the first row that was sent")
    who = (f"subscriber.username={names[2]}", f"subscriber.domain={DOMAIN}")
    await stage.here("send", "calls.block", *who, "--id", "fraud-meanwhile")
    query = "SELECT count(*) FROM commands WHERE message_id = 'fraud-meanwhile'"
    await eventually(lambda: _more(lambda: stage.value(query), 0), 60, 0.1, "what was sent meanwhile")
    await stage.here("platforms", "resume", PLATFORM, "--reason", "go on")
    done = await undoing
    assert (done.code, done.json["rows"]) == (1, {"succeeded": 2, "not_sent": 1}), done.out + done.err
    assert "calls.block fraud-meanwhile" in done.json["causes"][0]["example"]
    there = await subscribers(stage)
    assert [there[name]["activeOutgoingCalls"] for name in names] == [True, True, False]


async def test_a_second_run_beside_the_first_is_refused(stage: Stage) -> None:
    names = await debtors(stage, 7200, 2)
    file = list_of(stage.folder / "twice.csv", names)
    words = ("--command", "calls.block", "--batch", "twice", "--follow")
    await stage.here("platforms", "pause", PLATFORM, "--reason", "nothing is to end yet")
    first = asyncio.create_task(onboard(stage, file, *words, verb=("batch", "run")))
    query = "SELECT count(*) FROM batches WHERE name = 'twice'"
    await eventually(lambda: _more(lambda: stage.value(query), 0), 120, 0.1, "the first run")
    second = await onboard(stage, file, *words, verb=("batch", "run"))
    assert (second.code, "another run of batch twice" in second.err) == (2, True), second.err
    await stage.here("platforms", "resume", PLATFORM, "--reason", "go on")
    assert (await first).code == 0
    # The same list again, as a cron job gives it whose batches have no names of their own.
    third = await onboard(stage, file, *words, verb=("batch", "run"))
    assert (third.code, "give it another name: --batch" in " ".join(third.out.split())) == (0, True), (
        third.out
    )


async def test_a_running_batch_is_paused_slowed_resumed_and_cancelled(stage: Stage) -> None:
    names = await debtors(stage, 8000, 300)
    file = list_of(stage.folder / "steered.csv", names)
    words = ("--command", "calls.block", "--batch", "steered", "--rate", "3")
    running = asyncio.create_task(onboard(stage, file, *words, "--follow", verb=("batch", "run")))

    async def sent() -> int:
        return int(
            await stage.value(
                "SELECT count(*) FROM batch_rows r JOIN batches b ON b.id = r.batch_id WHERE b.name = 'steered'"
            )
        )

    async def begun() -> bool:
        return await sent() > 0

    await eventually(begun, 120, 0.05, "rows that were sent")
    await stage.cli("batch", "pause", "steered", "--reason", "the platform is slow")
    stood = await sent()
    await stage.cli("batch", "list")  # a look of the sender's, and a second, go by
    await stage.cli("batch", "rate", "steered", "6", "--reason", "it is well")
    assert await sent() <= stood + 6
    assert not running.done()
    shown = (await stage.cli("batch", "show", "steered", "--json")).json
    assert (shown["paused_reason"], shown["rate"]) == ("the platform is slow", 6.0)
    await stage.cli("batch", "resume", "steered", "--reason", "it is well")
    await eventually(lambda: _more(sent, stood + 6), 60, 0.05, "more rows")
    await stage.cli("batch", "cancel", "steered", "--reason", "wrong list")
    ended = await running
    assert ended.code == 2
    assert "was cancelled: nothing more of it is sent" in ended.err
    assert await sent() < 300
    blocked = [
        name
        for name, one in (await subscribers(stage)).items()
        if name in names and not one["activeOutgoingCalls"]
    ]
    done = await onboard(stage, file, *words, verb=("batch", "run"))
    assert (done.code, "say --resume" in done.err) == (2, True)
    done = await onboard(
        stage, file, *words[:-1], "500", "--resume", "--retry-failed", "--follow", verb=("batch", "run")
    )
    assert done.code == 0, done.out + done.err
    there = await subscribers(stage)
    assert all(there[name]["activeOutgoingCalls"] is False for name in names)
    assert 0 < len(blocked) < 300


async def _more(sent: Any, than: int) -> bool:
    return int(await sent()) > than


async def test_a_cron_job_reads_json_and_exit_codes_and_the_report_is_a_workbook(stage: Stage) -> None:
    names = await debtors(stage, 9000, 3)
    file = list_of(stage.folder / "cron.csv", [*names, "551100000000"])
    out = stage.folder / "cron.xlsx"
    words = ("--command", "calls.block", "--wait", "--json", "--report", str(out))
    done = await onboard(stage, file, *words, verb=("batch", "run"))
    assert done.code == 1
    assert done.json["rows"] == {"succeeded": 3, "failed": 1}
    [cause] = done.json["causes"]
    assert (cause["rows"], cause["command"], cause["code"]) == (1, "calls.block", "not_found")
    from openpyxl import load_workbook

    book = load_workbook(out)
    assert [row[3] for row in book["rows"].iter_rows(values_only=True)] == [
        "ending",
        *["succeeded"] * 3,
        "failed",
    ]
    assert ["succeeded", 3] in [list(row[:2]) for row in book["summary"].iter_rows(values_only=True)]
    listed = (await stage.cli("batch", "list", "--json")).json
    assert (listed[0]["batch"], listed[0]["state"]) == (done.json["batch"], "ended")
    assert listed[0]["rows"] == done.json["rows"]
    # The report again, at any time.
    written = await stage.cli("batch", "report", done.json["batch"], str(out.with_suffix(".csv")))
    assert ("succeeded  3" in written.out, f"the report is in {out.with_suffix('.csv')}" in written.out) == (
        True,
        True,
    )
    lines = report(out.with_suffix(".csv"))
    assert [(line["row"], line["ending"], line["code"]) for line in lines] == [
        *((str(row), "succeeded", "") for row in (2, 3, 4)),
        ("5", "failed", "not_found"),
    ]
    nothing = await onboard(
        stage, stage.folder / "nothing.csv", "--command", "calls.block", verb=("batch", "run")
    )
    assert (nothing.code, "no such file" in nothing.err) == (2, True)
