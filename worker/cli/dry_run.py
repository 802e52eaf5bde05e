"""`worker send --dry-run`: what a command would become, and `--against-platform`: whether what it names is there.

The requests are the platform's (worker/platforms/preview.py), the evidence plan in words is made here, of what the
engine goes by: a step's effect, whether a read shows it, and the settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from worker.cli import show
from worker.cli.context import Fault

if TYPE_CHECKING:
    from worker.messages.catalogue import Checked
    from worker.platforms.port import Order, Platform, Step
    from worker.platforms.preview import Existing, Preview
    from worker.settings import PlatformSettings, Settings


async def dry_run(
    settings: Settings, event: Mapping[str, Any], checked: Checked, *, against: bool, as_json: bool
) -> bool:
    """Print it; whether all that the command names is as it needs it. `against`: ask the platform that."""
    from worker.domain.redaction import without_secrets

    told: dict[str, Any] = {
        "command": dict(event) | {"data": without_secrets(event["data"])},
        "partitionkey": checked.partition_key,
        "steps": [],
    }
    if checked.platform is not None:
        told |= await _asked(settings, checked, against=against)
    show.emit(told) if as_json else _print(told)
    return all(each["right"] for each in told.get("against_platform", ()))


async def _asked(settings: Settings, checked: Checked, *, against: bool) -> dict[str, Any]:
    from worker.messages.errors import Problem
    from worker.platforms.build import build
    from worker.platforms.port import Order

    assert checked.platform is not None
    of = settings.platforms[checked.platform]
    platform = await build(checked.platform, of)
    order = Order(checked.envelope.id, checked.envelope.type, checked.envelope.data)
    try:
        plan = platform.plan(order)
        if isinstance(plan, Problem):
            raise Fault(f"it would be rejected, {plan.code.value}: {plan.message}")
        steps = [step_as_data(step, await _preview(platform, step), of) for step in plan]
        found = await _existing(platform, order, plan) if against else None
    finally:
        await platform.close()
    return {"steps": steps} | ({} if found is None else {"against_platform": found})


async def _preview(platform: Platform, step: Step) -> Preview | None:
    """None: this kind of platform shows none."""
    from worker.platforms.preview import Previewing

    return await platform.preview(step) if isinstance(platform, Previewing) else None


async def _existing(platform: Platform, order: Order, plan: Sequence[Step]) -> list[dict[str, Any]]:
    from worker.platforms.preview import Inspecting

    if not isinstance(platform, Inspecting):
        raise Fault(f"--against-platform: platforms of kind {platform.kind} cannot be asked that")
    return [_found(each) for each in await platform.existing(order, plan)]


def _found(each: Existing) -> dict[str, Any]:
    return {
        "what": each.what,
        "there": each.there,
        "wanted": each.wanted,
        "right": each.right,
        "said": each.said,
    }


def step_as_data(step: Step, preview: Preview | None, settings: PlatformSettings) -> dict[str, Any]:
    from worker.domain.redaction import without_secrets

    reads = tuple(preview.reads) if preview is not None else ()
    shown: dict[str, Any] = {
        "name": step.name,
        "endpoint": step.endpoint,
        "effect": step.effect.value,
        "params": json.loads(json.dumps(without_secrets(dict(step.params)), default=str)),
        "evidence": evidence_plan(step, reads, settings),
    }
    if preview is not None:
        shown["request"] = {
            "method": preview.method,
            "url": preview.url,
            "headers": dict(preview.headers),
            "body": preview.body,
        }
        shown["notes"] = list(preview.notes)
    return shown


# The evidence plan ---------------------------------------------------------------------------------------


def evidence_plan(step: Step, reads: Sequence[str], settings: PlatformSettings) -> dict[str, Any]:
    """reads: what shows the effect. before: what is read before the call. lost: what follows a lost answer."""
    by = " and ".join(reads) if reads else "the platform"
    return {"reads": list(reads), "before": _before(step, by), "lost": _lost(step, by, settings)}


def _before(step: Step, by: str) -> str:
    from worker.domain.effect import Effect

    match step.effect:
        case Effect.INCREMENT:
            return f"the balance, by {by}, is read once and kept: without it nobody could tell afterwards"
        case Effect.CREATE if step.readable:
            return f"{by} is read: if it is there already, {_EXISTS[step.if_exists]}"
        case Effect.DELETE if step.readable:
            return f"{by} is read and kept as the output; what is not there is rejected not_found"
        case Effect.SET:
            return "no evidence is kept: the same call again leaves the same state"
        case _:
            return "no evidence is kept"


_EXISTS = {
    "reject": "the command is rejected already_exists",
    "adopt": "it is adopted where the ordered fields agree, else rejected exists_different",
    "update": "it is adopted, then updated",
}


def _lost(step: Step, by: str, settings: PlatformSettings) -> list[str]:
    """Sentences, in the order in which things happen (rules for lost answers, docs/reliability.md)."""
    from worker.domain.effect import Effect
    from worker.settings import duration

    if step.effect is Effect.READ:
        return ["it is asked again"]
    settle, lag = duration(settings.settle), duration(settings.evidence_lag)
    begun = f"nothing else goes out for this object until the platform has kept answering for {settle}"
    if not step.readable and step.effect is Effect.SET:
        return [begun, "no read shows it: then it is called again, as the same call leaves the same state"]
    if not step.readable:
        return [begun, "no read shows what it did: parked, a person decides"]
    match step.effect:
        case Effect.SET:
            rest: tuple[str, ...] = (f"{by} shows it as ordered: done", "not so at the end: called again")
        case Effect.DELETE:
            rest = (f"{by} shows it gone: done", "still there at the end: called again")
        case Effect.CREATE:
            rest = (
                f"{by} shows it, as it was sent: done, under the id that it has there",
                "not there at the end: called again; there and otherwise: parked, a person decides",
            )
        case Effect.INCREMENT:
            rest = _money(step, by, lag, settings)
        case _:
            rest = (
                f"{by} shows that the new one works: done",
                "the old one still works at the end: called again; neither: parked, a person decides",
            )
    return [begun, *rest]


def _money(step: Step, by: str, lag: str, settings: PlatformSettings) -> tuple[str, ...]:
    shown: tuple[str, ...] = ()
    if getattr(settings, "evidence_select", None):
        shown = ("the SELECT of credit_evidence shows one entry of this command: done",)
    moved = f"the balance, by {by}, is read twice, {lag} apart: moved by exactly {step.amount}"
    if settings.strict:
        decides = "parked, a person decides (credit_evidence = strict)"
        return f"{moved}, or not at all: {decides}", "moved otherwise: parked, with the figures"
    otherwise = "moved otherwise: parked, with the figures, a person decides"
    return (*shown, f"{moved}: done", f"not moved, neither at once nor at the end: called again; {otherwise}")


# For people ----------------------------------------------------------------------------------------------


def _print(told: Mapping[str, Any]) -> None:
    show.emit(told["command"])
    show.say(f"\npartitionkey  {told['partitionkey'] or 'none: it is answered at intake'}")
    for number, step in enumerate(told["steps"], 1):
        _print_step(number, step)
    found = told.get("against_platform")
    show.say("\nagainst the platform:" if found else "")
    for each in found or ():
        show.say(f"  {_sign(each)}  {each['said']}")
    show.say("nothing was sent" if found is None else "only reads were sent: nothing was changed")


def _sign(each: Mapping[str, Any]) -> str:
    return "ok" if each["right"] else "??" if each["there"] is None else "!!"


def _print_step(number: int, step: Mapping[str, Any]) -> None:
    show.say(f"\nstep {number}  {step['endpoint']} ({step['effect']})")
    request = step.get("request")
    if request is None:
        show.say(f"  {json.dumps(step['params'], ensure_ascii=False)}")
    for note in step.get("notes", ()):
        show.say(f"  note: {note}")
    if request and request["method"]:
        show.say(f"  {request['method']} {request['url']}")
        for name, value in request["headers"].items():
            show.say(f"  {name}: {value}")
        show.say("\n".join(f"    {line}" for line in request["body"].splitlines()))
    show.say(f"  before the call: {step['evidence']['before']}")
    for each, sentence in enumerate(step["evidence"]["lost"]):
        show.say(f"  {'after a lost answer: ' if each == 0 else '                     '}{sentence}")
