"""Options that several verbs share: named once, as the fields of a dataclass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

Verb = Callable[..., None]


def spread(verb: Verb) -> Verb:
    """The verb as the command line sees it: in place of a parameter that is a dataclass, each of its fields.

    `def cancel(context, filters: Filters)` with `Filters.state` is given `--state`, and called with a `Filters`.
    """
    hints = get_type_hints(verb, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters = [one for given in signature(verb).parameters.values() for one in _seen(given, hints)]

    @wraps(verb)
    def called(**words: Any) -> None:
        for name, group in groups.items():
            words[name] = group(**{one.name: words.pop(one.name) for one in fields(group)})
        verb(**words)

    # Both: how a signature is read differs from one version of typer to the next.
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # inspect looks for it
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _seen(given: Parameter, hints: dict[str, Any]) -> Iterator[Parameter]:
    hint = hints[given.name]
    if not is_dataclass(hint):
        yield given.replace(annotation=hint, kind=Parameter.KEYWORD_ONLY)
        return
    of_fields = get_type_hints(hint, include_extras=True)
    for one in fields(hint):
        yield Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=of_fields[one.name])
