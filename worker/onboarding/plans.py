"""What becomes of a row, by a mapping or by the headers: the same for command line and console."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from worker.messages.catalogue import COMMANDS
from worker.onboarding.mapping import MappingError, Plan, fitting, plan_of
from worker.onboarding.matching import BESIDE, plan_from_headers
from worker.onboarding.undo import undoable as with_state_before

CREATE = "subscriber.create.v1"
ONBOARD = "onboard"
MOST_TEXT = 64 * 1024  # characters of a mapping that comes from a page


def plan_for(
    columns: Sequence[str],
    kind: str,
    *,
    mapping: Plan | None,
    types: Sequence[str],
    creates: bool,
    undoable: bool = False,
    name: str = "the mapping",
) -> Plan:
    """`types`: without a mapping, the commands; `creates`: onboarding. Raises MappingError."""
    if mapping is not None:
        plan = fitting(mapping, columns)
    else:
        plan = plan_from_headers(columns, (*types, *BESIDE) if creates else types, kind)
    if creates and plan.commands[0].type != CREATE:
        raise MappingError(
            f"{name}: onboarding begins with subscriber.create; for others: `worker batch run`"
        )
    return with_state_before(plan) if undoable else plan


def offered(kind: str) -> list[str]:
    """Commands that rows can become on a platform of this kind, the portable ones first."""
    found = [
        one.type.removesuffix(".v1")
        for one in COMMANDS.values()
        if kind in one.kinds and not one.at_intake and not one.secret_output
    ]
    return sorted(found, key=lambda name: (name.count(".") > 1, name))


def page_plan(given: Mapping[str, Any], columns: Sequence[str], kind: str) -> Plan:
    """From what a page sends: `command` or `mapping`, `undoable`. Raises MappingError.

    What would run away with the worker's own process, or needs a file on the operator's machine, is refused.
    """
    command, text = str(given.get("command") or ONBOARD), str(given.get("mapping") or "").strip()
    creates = command == ONBOARD
    plan = plan_for(
        columns,
        kind,
        mapping=_read(text, kind) if text else None,
        types=(CREATE,) if creates else (command,),
        creates=creates,
        undoable=bool(given.get("undoable")),
    )
    if plan.generates:
        raise MappingError(
            "the mapping generates passwords, which are written to a file that is encrypted to your own key: run it"
            " on the command line, `worker onboard … --passwords-key operator.pub`"
        )
    conditions = [*plan.when, *(one for command in plan.commands for one in command.when)]
    if any(one.pattern is not None for one in conditions):
        raise MappingError(
            "`matches` can take for ever on a cell, and the worker with it: say it with `is` or `in`, or run it on the"
            " command line"
        )
    return plan


def _read(text: str, kind: str) -> Plan:
    if len(text) > MOST_TEXT:
        raise MappingError(f"a mapping has at most {MOST_TEXT // 1024} KiB")
    try:
        return plan_of(tomllib.loads(text), kind)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"the mapping is not TOML: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise MappingError("the mapping has not the form that docs/batches.md shows") from None
