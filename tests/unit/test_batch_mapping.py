"""From rows to commands: what a mapping says, what headers say, and how mistakes are told."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from worker.messages.errors import Code, Problem
from worker.onboarding.escape import escaped
from worker.onboarding.mapping import MappingError, fitting, plan_of
from worker.onboarding.matching import BESIDE, mapping_text, plan_from_headers
from worker.onboarding.rows import Made, Maker, generated
from worker.onboarding.sheet import Row
from worker.onboarding.transforms import TRANSFORMS, Unfit
from worker.onboarding.undo import undoable

KIND, PLATFORM = "sippulse", "sippulse-br"
BLOCK = """
[[command]]
type = "calls.block"
[command.data]
"subscriber.username" = { column = "Telefone", do = ["phone_br_55"] }
subscriber.domain = "voip.example"
"""


def maker(text: str, planner: Any = None) -> Maker:
    return Maker(plan_of(tomllib.loads(text), KIND), PLATFORM, KIND, planner, 262_144)


def made(text: str, planner: Any = None, **cells: Any) -> Made:
    found = maker(text, planner).make(Row(2, cells))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("cpf", "529.982.247-25", "52998224725"),
        ("cpf", "12345678909", "12345678909"),
        ("cpf", "1234567890", "01234567890"),
        ("cnpj", "11.222.333/0001-81", "11222333000181"),
        ("cnpj", "12.ABC.345/01DE-35", "12ABC34501DE35"),
        ("cpf_cnpj", "11222333000181", "11222333000181"),
        ("phone_br", "+55 (11) 98765-4321", "11987654321"),
        ("phone_br", "0 11 3333-4444", "1133334444"),
        ("phone_br_55", "(21) 2345-6789", "552123456789"),
        ("decimal_comma", "R$ 1.234,50", "1234.50"),
        ("decimal_comma", "10", "10"),
        ("decimal_comma", "10.5", "10.5"),
        ("digits", "(11) 9-8", "1198"),
        ("plain", "São João", "Sao Joao"),
        ("strip", "  a   b ", "a b"),
    ],
)
def test_a_transform_gives_what_the_platform_wants(name: str, given: str, wanted: str) -> None:
    assert TRANSFORMS[name](given) == wanted


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cpf", "529.982.247-24"), ("cpf", "111.111.111-11"), ("cpf", "123456789012"), ("cnpj", "11222333000182"),
        ("cnpj", "12ABC34501DE36"), ("phone_br", "(20) 98765-4321"), ("phone_br", "(11) 8765-4321"),
        ("phone_br", "11 1234"), ("phone_br", "(11) 08765-4321"), ("decimal_comma", "1.2.3,0"), ("decimal_comma", "-5"),
        ("decimal_comma", "1,234.50"),
    ],
)  # fmt: skip
def test_a_transform_says_what_would_be_right(name: str, given: str) -> None:
    with pytest.raises(Unfit) as error:
        TRANSFORMS[name](given)
    assert given not in str(error.value)


def test_columns_constants_texts_lookups_defaults_and_conditions() -> None:
    text = """
identity = ["Contrato"]
when = { column = "Ativo", is = "sim" }
[lookup.tipos]
"Tudo" = "outgoing,incoming"
[[command]]
type = "calls.block"
when = [{ column = "Plano", in = ["Ouro", "Prata"] }, { column = "Plano", not = "Prata" }]
[command.data]
"subscriber.username" = { text = "55{DDD}{Numero}" }
"subscriber.domain" = { column = "Dominio", default = "voip.example" }
kinds = { column = "Tipo", lookup = "tipos" }
"""
    cells = {
        "Contrato": "C-1",
        "Ativo": " SIM ",
        "Plano": "ouro",
        "DDD": 11,
        "Numero": "33334444",
        "Dominio": " ",
        "Tipo": "tudo",
    }
    one = made(text, **cells)
    assert one.findings == ()
    assert one.commands == (
        (
            "calls.block.v1",
            {
                "platform": PLATFORM,
                "subscriber": {"username": "551133334444", "domain": "voip.example"},
                "kinds": ["outgoing", "incoming"],
            },
        ),
    )
    assert (one.identity, one.keys) == (("c-1",), {"Contrato": "C-1"})
    assert maker(text).make(Row(2, {**cells, "Ativo": "não"})) is None
    assert maker(text).make(Row(2, {**cells, "Plano": "Prata"})) is None
    [finding] = made(text, **{**cells, "Tipo": "nada"}).findings
    assert (finding.column, finding.value) == ("Tipo", "nada")
    assert "knows tudo" in finding.problem


def test_the_same_subscriber_is_the_same_row_however_it_is_written() -> None:
    assert made(BLOCK, Telefone="(11) 3333-4444").identity == made(BLOCK, Telefone=551133334444).identity


def test_numbers_of_one_client_are_rows_of_their_own_and_told_apart() -> None:
    text = """
[[command]]
type = "subscriber.create"
[command.data]
"subscriber.client_id" = { column = "Cliente" }
number = { column = "Ramal" }
password = { generate = 16 }
"""
    of_ringme = Maker(plan_of(tomllib.loads(text), "ringme"), "ring", "ringme", None, 262_144)
    found = [of_ringme.make(Row(n, {"Cliente": "17", "Ramal": f"20{n}"})) for n in (2, 3)]
    assert [one.findings for one in found if one] == [(), ()]
    assert [dict(one.keys) for one in found if one] == [
        {"Cliente": "17", "Ramal": "202"},
        {"Cliente": "17", "Ramal": "203"},
    ]
    assert len({one.identity for one in found if one}) == 2


def test_everything_wrong_with_a_row_is_told_with_its_column() -> None:
    text = """
[[command]]
type = "credit.add"
[command.data]
"subscriber.username" = { column = "Usuario" }
"subscriber.domain" = { column = "Dominio" }
amount = { column = "Valor" }
"""
    found = made(text, Usuario="a b", Dominio="voip example", Valor="1,5").findings
    assert {one.column for one in found} == {"Usuario", "Dominio", "Valor"}
    [missing] = made(text, Usuario="a", Dominio="", Valor="1.50").findings
    assert (missing.code, missing.column) == ("missing_field", "Dominio")


def test_a_cell_that_no_transform_takes_hides_nothing_else_that_is_wrong() -> None:
    text = """
[[command]]
type = "credit.add"
[command.data]
"subscriber.username" = { column = "Telefone", do = ["phone_br_55"] }
"subscriber.domain" = { column = "Dominio" }
amount = { column = "Valor", do = ["decimal_comma"] }
"""
    asked: list[Any] = []
    found = made(text, asked.append, Telefone="(20) 1", Dominio="voip example", Valor="abc").findings
    assert [(one.column, one.code) for one in found] == [
        ("Telefone", "invalid_field"), ("Valor", "invalid_field"), ("Dominio", "invalid_field"),
    ]  # fmt: skip
    assert asked == []  # the platform is not asked about half a command


def test_what_the_platform_would_refuse_is_known_before() -> None:
    one = made(BLOCK, lambda order: Problem(Code.NOT_ALLOWED, "deny forbids it"), Telefone="1133334444")
    assert [(finding.code, finding.problem) for finding in one.findings] == [
        ("not_allowed", "deny forbids it")
    ]


CREATE = """
[[command]]
type = "subscriber.create"
[command.data]
"subscriber.username" = { column = "Telefone" }
"subscriber.domain" = "voip.example"
password = { generate = 16 }
portal_password = { column = "Senha" }
profile = "p"
rate_plan_id = 1
email = { column = "Mail" }
country_code = 55
area_code = 11
call_limit = 2
voicemail = { column = "Caixa" }
"""


def test_generated_passwords_are_no_part_of_the_content_and_differ() -> None:
    one = made(CREATE, Telefone="1", Senha="portal-secret", Mail="a@b", Caixa="não")
    assert one.findings == ()
    assert one.blanks == {"0 password": 16}
    first, second = generated(one.blanks), generated(one.blanks)
    assert first != second
    assert len(first["0 password"]) == 16
    [(_, data)] = one.filled(first)
    assert (data["password"], data["voicemail"]) == (first["0 password"], False)
    assert "password" not in one.commands[0][1]


def test_a_secret_of_the_file_is_in_no_finding() -> None:
    one = made(CREATE, Telefone="1", Senha="se\u0007cret", Mail="a@b", Caixa="talvez")
    told = repr(one.findings) + repr(one)
    assert "cret" not in told
    assert {finding.column for finding in one.findings} == {"Caixa", "Senha"}
    bad = made(CREATE, Telefone="1", Senha="se\u0007cret", Mail="a@b", Caixa="")
    assert [finding.value for finding in bad.findings] == ["***"]


def test_a_wrong_entry_of_a_list_is_told_with_what_stands_in_its_cell() -> None:
    one = made(BLOCK + 'kinds = { column = "Tipo" }\n', Telefone="(21) 2345-6789", Tipo="sideways")
    [finding] = one.findings
    assert finding.column == "Tipo"
    assert "sideways" in finding.value


def test_headers_are_matched_without_a_mapping() -> None:
    columns = ["User Name", "DOMAIN", "Password", "portal-password", "Profile", "rate_plan_id", "E-mail", "Country Code",
               "Area code", "call limit", "City", "credit.add.amount", "calls.block.kinds", "Obs"]  # fmt: skip
    plan = plan_from_headers(columns, ("subscriber.create", *BESIDE), KIND)
    assert plan.title == "subscriber.create, credit.add, calls.block"
    assert plan.unused == ("Obs",)
    one = Maker(plan, PLATFORM, KIND, None, 262_144)
    values = ["a", "voip.example", "p", "q", "basic", "1", "a@b", "55", "11", "2", "Recife", "10.00", "", "x"]
    found = one.make(Row(2, dict(zip(columns, values, strict=True))))
    assert found is not None
    assert found.findings == ()
    assert [type for type, _ in found.commands] == ["subscriber.create.v1", "credit.add.v1"]
    assert found.commands[0][1]["address"] == {"city": "Recife"}


def test_missing_columns_are_named_with_what_is_there() -> None:
    with pytest.raises(MappingError, match=r"email, country_code.*'username', 'domain'.*onboard init"):
        plan_from_headers(
            ["username", "domain", "password", "portal_password", "profile", "rate_plan_id"],
            ["subscriber.create"],
            KIND,
        )
    with pytest.raises(MappingError, match="no column 'Telefone': did you mean 'Telefones'"):
        fitting(plan_of(tomllib.loads(BLOCK), KIND), ["Telefones"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("calls.block", "calls.blok"), "no command 'calls.blok'"),
        (("calls.block", "command.get"), "no command 'command.get' for rows"),
        (('column = "Telefone"', 'colum = "Telefone"'), "colum"),
        (("phone_br_55", "phone"), "no transform 'phone'"),
        (('subscriber.domain = "voip.example"', ""), "needs subscriber.domain too"),
        (('subscriber.domain = "voip.example"', 'subscriber.domein = "x"'), "did you mean subscriber.domain"),
        (('do = ["phone_br_55"]', 'lookup = "x"'), "no .lookup.x."),
        (('{ column = "Telefone", do = ["phone_br_55"] }', "{ generate = 12 }"), "for a field that is a secret"),
        (("[[command]]", 'when = { column = "a" }\n[[command]]'), "a condition is a column and one of"),
        (("[[command]]", 'idntity = ["a"]\n[[command]]'), "did you mean identity"),
    ],
)  # fmt: skip
def test_a_mapping_that_is_wrong_says_where_and_what_would_be_right(
    change: tuple[str, str], said: str
) -> None:
    with pytest.raises(MappingError, match=said):
        plan_of(tomllib.loads(BLOCK.replace(*change)), KIND)


def test_init_writes_a_mapping_that_can_be_completed() -> None:
    columns = ["Telefone", "Nome", "CPF", "E-mail", "Cidade", "Obs"]
    text = mapping_text("clientes.csv", columns, "subscriber.create", KIND)
    for column, path in (
        ("Telefone", "subscriber.username"),
        ("CPF", "document"),
        ("Cidade", "address.city"),
    ):
        assert any(
            f'"{column}"' in line and path in line for line in text.splitlines() if not line.startswith("#")
        )
    assert "# MISSING profile" in text
    assert "not used yet: 'Obs'" in text
    filled = "\n".join(
        line.removeprefix("# MISSING ").replace('{ column = "…" }', "1" if "rate" in line or "co" in line or "call" in line else '"a.b"')
        if line.startswith("# MISSING") else line
        for line in text.splitlines()
    )  # fmt: skip
    plan = fitting(plan_of(tomllib.loads(filled), KIND), columns)
    assert plan.generates


def test_undoable_reads_the_subscriber_first_unless_it_is_made() -> None:
    assert undoable(plan_of(tomllib.loads(BLOCK), KIND)).title == "subscriber.get, calls.block"
    assert undoable(plan_of(tomllib.loads(CREATE), KIND)).title == "subscriber.create"


@pytest.mark.parametrize("cell", ["=1+1", "+55", "-1", "@x", "\tx", "\rx", " =x"])
def test_a_cell_that_a_spreadsheet_would_run_is_escaped(cell: str) -> None:
    assert escaped(cell) == f"'{cell}"


def test_other_cells_are_left_as_they_are() -> None:
    assert [escaped(one) for one in ("a=b", "", 7, None, "João")] == ["a=b", "", 7, None, "João"]
