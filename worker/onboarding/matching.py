"""A plan without a mapping file: headers are matched to field names; and the mapping file to start from."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from worker.onboarding.fields import Field, command_type, fields_of
from worker.onboarding.mapping import CommandPlan, MappingError, Plan, Source
from worker.onboarding.transforms import plain

# What onboarding can make of columns such as `credit.add.amount`, in the order in which it is done.
BESIDE = (
    "number.assign.v1",
    "forwarding.set.v1",
    "credit.add.v1",
    "calls.block.v1",
    "subscriber.block.v1",
)
OBJECT = "subscriber."  # fields that say whom a command is about


def named(text: str) -> str:
    """User Name, user-name and USERNAME are the same name."""
    return re.sub(r"[^a-z0-9.]", "", plain(text).lower().replace("_", ""))


def plan_from_headers(columns: Sequence[str], types: Sequence[str], kind: str) -> Plan:
    """`types`: the first command, then those that columns may ask for. Raises MappingError."""
    first, *others = [command_type(one) for one in types]
    known = fields_of(first, kind)
    if not known:
        raise MappingError(f"{first} is not offered by platforms of kind {kind}")
    used: dict[str, str] = {}
    commands = [_first(first, known, columns, used)]
    for type in others:
        if (more := _beside(type, fields_of(type, kind), columns, commands[0], used)) is not None:
            commands.append(more)
    missing = [
        p for p, one in known.items() if one.required and p not in {s.path for s in commands[0].sources}
    ]
    if missing:
        raise MappingError(
            f"no column is called like {', '.join(missing)}, which {first.removesuffix('.v1')} needs; the file has"
            f" {', '.join(repr(name) for name in columns if name)}. A mapping says which is which: `worker onboard init FILE`"
        )
    unused = tuple(name for name in columns if name and name not in used)
    return Plan(tuple(commands), unused=unused)


def _first(
    type: str, known: Mapping[str, Field], columns: Sequence[str], used: dict[str, str]
) -> CommandPlan:
    sources: list[Source] = []
    for column in columns:
        path = match(column, known)
        if path is not None and path not in {source.path for source in sources}:
            sources.append(Source(path, column=column))
            used[column] = path
    return CommandPlan(type, tuple(sources))


def match(column: str, fields: Mapping[str, Field]) -> str | None:
    """The field that a header names: by its whole path, or by its last part where that is but one."""
    wanted = named(column)
    if not wanted:
        return None
    whole = [path for path in fields if named(path) == wanted]
    if whole:
        return whole[0]
    last = [
        path
        for path in fields
        if named(path.rpartition(".")[2]) == wanted and not path.startswith("platform_fields.")
    ]
    last = [path for path in last if "." not in path or path.startswith(OBJECT)] or last
    return last[0] if len(last) == 1 else None


def _beside(
    type: str, known: Mapping[str, Field], columns: Sequence[str], first: CommandPlan, used: dict[str, str]
) -> CommandPlan | None:
    """A further command, where columns are called `credit.add.amount` and the like."""
    prefix = named(type.removesuffix(".v1") + ".")
    own = {}
    for column in columns:
        if named(column).startswith(prefix):
            rest = named(column)[len(prefix) :]
            path = next((one for one in known if named(one) == rest), None)
            if path is None:
                raise MappingError(
                    f"column {column!r}: {rest!r} is no field of {type.removesuffix('.v1')}; it has {', '.join(known)}"
                )
            own[column] = path
    if not own:
        return None
    used.update(own)
    about = tuple(
        source for source in first.sources if source.path in known and source.path.startswith(OBJECT)
    )
    return CommandPlan(
        type, (*about, *(Source(path, column=name) for name, path in own.items())), optional=True
    )


def mapping_text(file: str, columns: Sequence[str], type: str, kind: str) -> str:
    """A mapping file to start from: what could be guessed, and every other field as a comment."""
    return (
        "\n".join(_mapping_lines(file, [name for name in columns if name], command_type(type), kind)) + "\n"
    )


def _mapping_lines(file: str, columns: Sequence[str], type: str, kind: str) -> Iterator[str]:
    known = fields_of(type, kind)
    guessed = {path: column for column in reversed(columns) if (path := guess(column, known))}
    yield f"# How the rows of {file} become commands. Columns: {', '.join(map(repr, columns))}"
    yield "# A field comes from a column, a text with columns, a constant, or is generated:"
    yield '#   phone = { column = "Telefone", do = ["phone_br"] }     caller_id = { text = "{DDD}{Telefone}" }'
    yield "#   call_limit = 2                                         password = { generate = 20 }"
    yield "# do: strip digits upper lower title plain cpf cnpj cpf_cnpj phone_br phone_br_55 decimal_comma"
    yield '# lookup = "plans" takes the value from [lookup.plans]; default = … is used where the cell is empty.'
    yield ""
    yield "# Columns that make a row the same row in a sorted or corrected file; without it: the subscriber."
    yield f"# identity = [{json.dumps(columns[0], ensure_ascii=False)}]"
    yield "# Only rows of which this holds (filled, is, not, in, matches); also below a [[command]]."
    yield f"# when = {{ column = {json.dumps(columns[0], ensure_ascii=False)}, filled = true }}"
    yield ""
    yield "[[command]]"
    yield f'type = "{type.removesuffix(".v1")}"'
    yield "[command.data]"
    for path, one in sorted(known.items(), key=lambda item: (not item[1].required, item[0] not in guessed)):
        if path.startswith("platform_fields.") and path not in guessed:
            continue
        yield _line(path, one, guessed.get(path))
    used = set(guessed.values())
    if left := [column for column in columns if column not in used]:
        yield f"# not used yet: {', '.join(map(repr, left))}"
    if type == "subscriber.create.v1":
        yield from ("", *(f"# {line}" for line in EXAMPLE))


EXAMPLE = (
    "A further command of the same row runs when the one before it has succeeded:",
    "[[command]]",
    'type = "credit.add"',
    'when = { column = "Crédito", filled = true }',
    "[command.data]",
    '"subscriber.username" = { column = "…" }',
    '"subscriber.domain" = "voip.example"',
    'amount = { column = "Crédito", do = ["decimal_comma"] }',
    "",
    "[lookup.plans]",
    '"Ouro 300" = "gold"',
)


def _line(path: str, one: Field, column: str | None) -> str:
    key = json.dumps(path) if "." in path else path
    if column is not None:
        value = f"{{ column = {json.dumps(column, ensure_ascii=False)} }}"
    elif one.secret and one.required:
        value = "{ generate = 20 }"
    else:
        value = '{ column = "…" }'
    needed = one.required or column is not None
    sign = (
        "" if column is not None or (one.secret and one.required) else "# MISSING " if one.required else "# "
    )
    return (
        f"{sign}{key} = {value}  # {one.meaning}"
        if needed or not sign
        else f"{sign}{key} = …  # {one.meaning}"
    )


# Names that Brazilian and English customer lists use, in the form of `named`.
WORDS = {
    "subscriber.username": (
        "usuario",
        "user",
        "login",
        "ramal",
        "telefone",
        "numero",
        "linha",
        "phonenumber",
    ),
    "subscriber.domain": ("dominio",),
    "password": ("senha", "sippassword", "senhasip"),
    "portal_password": ("senhaportal",),
    "profile": ("perfil",),
    "rate_plan_id": ("plano", "planoid", "rateplan", "planotarifario"),
    "country_code": ("pais", "ddi"),
    "area_code": ("ddd", "areacode", "area"),
    "call_limit": ("limite", "canais", "channels"),
    "first_name": ("nome", "primeironome", "name"),
    "last_name": ("sobrenome", "surname"),
    "document": ("cpf", "cnpj", "cpfcnpj", "documento"),
    "contract_number": ("contrato", "contract"),
    "address.street": ("endereco", "rua", "logradouro"),
    "address.number": ("numeroendereco", "no"),
    "address.complement": ("complemento",),
    "address.district": ("bairro",),
    "address.city": ("cidade",),
    "address.state": ("estado", "uf"),
    "address.postal_code": ("cep", "zip"),
    "mobile": ("celular",),
    "email": ("mail", "correio", "emailaddress"),
    "amount": ("valor", "credito", "credit"),
    "number": ("did", "numerodid"),
}


def guess(column: str, known: Mapping[str, Field]) -> str | None:
    found = match(column, known)
    if found is not None:
        return found
    wanted = named(column).replace(".", "")
    for path, words in WORDS.items():
        if path in known and wanted in words:
            return path
    near = difflib.get_close_matches(wanted, [named(path) for path in known], 1, 0.85)
    return next((path for path in known if near and named(path) == near[0]), None)
