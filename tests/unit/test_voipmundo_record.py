"""Numbers, flags, days and the record of a client, in every shape that was seen."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.messages.rest.document import table
from worker.platforms.voipmundo import record
from worker.platforms.voipmundo.record import ClientKind, PaymentType, Status, shown, typed
from worker.platforms.voipmundo.values import day, flag, instant, number, whole
from worker.simulators.voipmundo import SimulatorConfig
from worker.simulators.voipmundo.records import record as simulated
from worker.simulators.voipmundo.state import State


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("77,90", "77.90"),
        ("3.148.895,40924", "3148895.40924"),
        ("0.00000", "0"),
        ("1.234", "1.234"),
        ("1234,5", "1234.5"),
        ("-12,50", "-12.50"),
        ("1.234.567", "1234567"),
        ("12", "12"),
        (12, "12"),
        (Decimal("1.50"), "1.50"),
        (" 7,5 ", "7.5"),
    ],
)
def test_an_amount_is_read_with_comma_and_with_point(written: Any, meant: str) -> None:
    assert number(written) == Decimal(meant)


@pytest.mark.parametrize(
    "written", ["", "R$ 1,00", "1,2,3", "1.23.456", "abc", "1e5", "NaN", None, True, [], "1,"]
)
def test_what_is_no_number_is_not_taken_for_one(written: Any) -> None:
    with pytest.raises(ValueError, match="no number"):
        number(written)


@given(some.decimals(min_value=-(10**12), max_value=10**12, places=5))
def test_what_the_platform_writes_is_what_is_read(amount: Decimal) -> None:
    for decimals in ("comma", "point"):
        state = State(SimulatorConfig(decimals=decimals))
        assert number(state.amount(amount, 5)) == amount or (decimals == "point" and abs(amount) < 1000)


@pytest.mark.parametrize("written", [1, "1", True])
def test_a_flag_is_a_flag_in_each_of_its_shapes(written: Any) -> None:
    assert flag(written) is True


def test_days_and_times_are_read_in_each_of_their_shapes() -> None:
    assert instant("1767225600") == instant(1767225600) == datetime(2026, 1, 1, tzinfo=UTC)
    assert instant("0") is instant("") is instant(None) is None
    assert day("2026-01-31") == date(2026, 1, 31)
    assert day("2026-01-31 10:20:30") == datetime(2026, 1, 31, 10, 20, 30)  # the zone is not said
    assert day("0000-00-00") is None
    assert day(1767225600) == datetime(2026, 1, 1, tzinfo=UTC)
    assert whole("-7") == -7


def test_each_of_the_77_documented_fields_has_a_type() -> None:
    assert len(record.CLIENT) + len(record.FINANCE) + len(record.USER) == 77
    answer = table("voipmundo")["voipmundo.manageCustomers.get.v1"].answer
    assert answer is not None
    fields = answer["properties"]
    assert set(record.CLIENT) | {"finance", "users"} == set(fields)
    assert set(record.FINANCE) == set(fields["finance"]["properties"])
    assert set(record.USER) == set(fields["users"]["anyOf"][0]["properties"])


def raw(**more: Any) -> dict[str, Any]:
    state = State(SimulatorConfig(clients=({"nome_fantasia": "Ana", "tem_did": 1},)))
    return {"error": "0", "reason": "OK", **simulated(state, state.clients[1]), **more}


def test_flags_enumerations_numbers_and_times_are_what_they_are() -> None:
    found = typed(raw())
    assert (found["id"], found["tem_did"], found["tem_sms"]) == (1, True, False)
    assert (found["tipo"], found["status"]) == (ClientKind.SUBSCRIBER, Status.ACTIVE)
    assert found["finance"]["tipo_tar"] is PaymentType.PREPAID
    assert found["finance"]["franquia_movel_ldn_used"] == Decimal("0.00")
    assert found["finance"]["franquia_last_reset"] == date(2026, 1, 1)
    assert found["users"]["last_login"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert found["users"]["last_attempt"] is None


def test_a_record_is_shown_with_names_texts_and_no_secret() -> None:
    source = raw()
    found = shown(source)
    assert (found["tipo"], found["status"], found["finance"]["tipo_tar"]) == (
        "subscriber",
        "active",
        "prepaid",
    )
    assert found["users"]["last_login"] == "2026-01-01T00:00:00Z"
    assert (found["users"]["api_key"], found["users"]["api_token"]) == ("***", "***")
    assert "error" not in found
    assert source["users"]["api_key"] not in json.dumps(found)


def test_users_may_be_one_or_a_list() -> None:
    user = raw()["users"]
    assert shown(raw(users=[user, user]))["users"] == [shown(raw())["users"]] * 2


def test_what_is_not_known_is_kept_and_what_is_not_as_thought_is_left_as_it_came() -> None:
    found = shown(
        raw(novo_campo={"a": 1, "senha": "x"}, status="7", tem_did="maybe", saldo="1,50", finance="none")
    )
    assert found["novo_campo"] == {"a": 1, "senha": "***"}
    assert (found["status"], found["tem_did"], found["saldo"], found["finance"]) == (
        "7",
        "maybe",
        "1,50",
        "none",
    )


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.text(),
        lambda s: some.lists(s) | some.dictionaries(some.text(), s),
        max_leaves=8,
    )
)
def test_no_value_of_any_field_breaks_the_reading(value: Any) -> None:
    names = [*record.CLIENT, "finance", "users"]
    inner = dict.fromkeys([*record.FINANCE, *record.USER], value)
    json.dumps(shown({**dict.fromkeys(names, value), "finance": inner, "users": [inner, value]}))
