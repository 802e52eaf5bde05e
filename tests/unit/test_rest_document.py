"""Native commands from an OpenAPI file: what the file has to say, and what a message may."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from worker.messages.catalogue import KINDS, validated
from worker.messages.errors import Code, Problem
from worker.messages.rest import document, examples
from worker.messages.rest.document import Unfit, read
from worker.messages.rest.models import model, model_of
from worker.messages.rest.operations import Check, Place, Table

FILE: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1"},
    "paths": {
        "/api/users/{key}": {
            "parameters": [
                {
                    "name": "key",
                    "in": "path",
                    "required": True,
                    "x-credential": True,
                    "schema": {"type": "string"},
                }
            ],
            "get": {
                "operationId": "shop.users.list.v1",
                "x-effect": "read",
                "responses": {
                    200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Users"}}}}
                },
            },
            "put": {
                "operationId": "shop.users.create.v1",
                "summary": "make a user",
                "x-effect": "create",
                "x-object": ["user:{group}:{name}", "user:{name}"],
                "x-check": {"read": "shop.users.list.v1", "rows": "data", "same": {"name": "name"}},
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}
                },
                "responses": {"201": {"description": "made"}},
            },
        },
        "/api/users/{key}/{id}": {
            "post": {
                "operationId": "shop.users.update.v1",
                "x-effect": "set",
                "parameters": [
                    {
                        "name": "key",
                        "in": "path",
                        "required": True,
                        "x-credential": True,
                        "schema": {"type": "string"},
                    },
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "notify", "in": "query", "schema": {"type": "boolean"}},
                ],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"id": {"type": "integer", "x-name": "number"}},
                            }
                        }
                    }
                },
                "responses": {"200": {"description": "changed"}},
            }
        },
    },
    "components": {
        "schemas": {
            "Users": {
                "type": "object",
                "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/User"}}},
            },
            "User": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 20},
                    "group": {"type": "integer"},
                    "status": {"type": "integer", "enum": [0, 1]},
                    "password": {"type": "string", "format": "password"},
                    "fee": {"type": "string", "format": "decimal"},
                    "limit": {"type": ["integer", "null"], "minimum": -5},
                    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                    "phones": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["number"],
                            "properties": {
                                "number": {"type": "string"},
                                "pin": {"type": "string", "format": "password"},
                            },
                        },
                    },
                },
            },
        }
    },
}


def shop(**changes: Any) -> Table:
    """The file, parts of it replaced: `users__put__x_effect="read"`."""
    file = yaml.safe_load(yaml.safe_dump(FILE, sort_keys=False))
    for path, value in changes.items():
        *way, last = path.replace("x_", "x-").split("__")
        part = file["paths"]["/api/users/{key}"]
        for name in way[1:]:
            part = part[name]
        part[last] = value
    return read(yaml.safe_dump(file, sort_keys=False), "shop")


def test_an_operation_is_what_the_file_says() -> None:
    create = shop()["shop.users.create.v1"]
    assert (create.method, create.path, create.effect) == ("PUT", "/api/users/{key}", "create")
    assert (create.endpoint, create.kind, create.summary) == ("users.create", "shop", "make a user")
    assert create.check == Check("shop.users.list.v1", {}, rows="data", same={"name": "name"})
    assert [datum.name for datum in create.asked][:3] == ["name", "group", "status"]
    assert not any(datum.credential for datum in create.asked)
    update = shop()["shop.users.update.v1"]
    places = {datum.name: (datum.place, datum.wire) for datum in update.asked}
    assert places == {
        "id": (Place.PATH, "id"),
        "notify": (Place.QUERY, "notify"),
        "number": (Place.BODY, "id"),
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"users__put__x_effect": "make"}, "PUT /api/users/{key}: x-effect is one of read, set"),
        ({"users__put__operationId": "users.create"}, "operationId has to be shop.<name>.v1"),
        ({"users__put__operationId": "shop.users.list.v1"}, "stands twice"),
        ({"users__parameters": []}, "the path has"),
        ({"users__put__x_check": {"rows": "data"}}, "x-check has read"),
        ({"users__put__x_check": {"read": "shop.users.gone.v1"}}, "no read of this file"),
        ({"users__put__x_check": {"read": "shop.users.list.v1"}}, "it needs rows and same"),
        (
            {"users__put__x_check": {"read": "shop.users.list.v1", "same": {"a": "nowhere"}}},
            r"names \['nowhere'\]",
        ),
        (
            {"users__put__x_check": {"read": "shop.users.list.v1", "rows": "", "same": {}, "balance": "b"}},
            "rows and same",
        ),
        ({"users__put__x_effect": "increment"}, "checked by a balance"),
        (
            {"users__put__requestBody": {"content": {"application/x-www-form-urlencoded": {}}}},
            "only application/json",
        ),
        (
            {
                "users__put__requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/None"}}}
                }
            },
            "leads nowhere",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place_and_the_reason(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Unfit, match=sentence):
        shop(**changes)


def test_references_in_a_circle_are_found() -> None:
    file = yaml.safe_load(yaml.safe_dump(FILE, sort_keys=False))
    file["components"]["schemas"]["User"]["properties"]["boss"] = {"$ref": "#/components/schemas/User"}
    with pytest.raises(Unfit, match="in a circle"):
        read(yaml.safe_dump(file, sort_keys=False), "shop")


def test_what_is_no_yaml_is_said_to_be_none() -> None:
    with pytest.raises(Unfit, match="is no YAML"):
        read("{", "shop")


# What a message may say -------------------------------------------------------------------------------

GOOD = {"platform": "shop-1", "name": "ana"}


def checked(data: dict[str, Any], operation: str = "users.create") -> Any:
    return validated(model_of(shop()[f"shop.{operation}.v1"]), data)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"platform": "shop-1"}, Code.MISSING_FIELD, "name"),
        ({**GOOD, "nam": "ana"}, Code.INVALID_FIELD, "nam"),
        ({**GOOD, "key": "mine"}, Code.INVALID_FIELD, "key"),
        ({**GOOD, "name": 7}, Code.INVALID_FIELD, "name"),
        ({**GOOD, "name": "x" * 21}, Code.INVALID_FIELD, "name"),
        ({**GOOD, "name": "a\u0000b"}, Code.INVALID_FIELD, "name"),
        ({**GOOD, "status": 2}, Code.INVALID_FIELD, "status"),
        ({**GOOD, "status": True}, Code.INVALID_FIELD, "status"),
        ({**GOOD, "group": "x"}, Code.INVALID_FIELD, "group"),
        ({**GOOD, "fee": 1.5}, Code.INVALID_FIELD, "fee"),
        ({**GOOD, "limit": -6}, Code.INVALID_FIELD, "limit"),
        ({**GOOD, "tags": ["a", "b", "c"]}, Code.INVALID_FIELD, "tags"),
        ({**GOOD, "phones": [{"pin": "1"}]}, Code.MISSING_FIELD, "phones[0].number"),
        ({**GOOD, "phones": [{"number": "1", "x": 1}]}, Code.INVALID_FIELD, "phones[0].x"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(data: dict[str, Any], code: Code, field: str) -> None:
    problem = checked(data)
    assert isinstance(problem, Problem)
    assert (problem.code, problem.field) == (code, field), problem.message


def test_a_near_name_is_suggested_and_a_secret_never_quoted() -> None:
    assert "did you mean name?" in checked({**GOOD, "nam": "ana"}).message
    assert "hunter2" not in checked({**GOOD, "password": ["hunter2"]}).message


def test_digits_may_stand_in_quotes_and_secrets_do_not_print() -> None:
    data = {**GOOD, "group": "7", "status": "1", "limit": None, "password": "hunter2", "fee": "1.50"}
    found = checked(data)
    assert (found.group, found.status, found.limit, str(found.fee)) == (7, 1, None, "1.50")
    assert "hunter2" not in repr(found)


def test_the_ordering_key_is_the_first_template_that_the_data_fill() -> None:
    assert checked(GOOD).object_name() == "user:ana"
    assert checked({**GOOD, "group": "7"}).object_name() == "user:7:ana"
    update = {"platform": "shop-1", "id": "7"}
    assert checked(update, "users.update").object_name() == "operation:users.update"


@pytest.mark.parametrize("id_", ["", ".", ".."])
def test_nothing_that_stands_in_the_address_leads_to_another_one(id_: str) -> None:
    problem = checked({"platform": "shop-1", "id": id_}, "users.update")
    assert isinstance(problem, Problem)
    assert problem.field == "id"


# The files that come along ------------------------------------------------------------------------------

BUNDLED = [kind for kind in KINDS if document.file_of(kind) is not None]
TYPES = [type_ for kind in BUNDLED for type_ in document.table(kind)]


@pytest.mark.parametrize("type_", TYPES)
def test_every_operation_of_the_files_has_a_model_that_takes_its_example(type_: str) -> None:
    kind = type_.partition(".")[0]
    data = {"platform": kind, **examples.data(kind)[type_]}
    found = validated(model(type_), data)
    assert not isinstance(found, Problem), found
    assert found.object_name()


def test_no_file_is_read_before_a_command_of_its_kind_is_asked_for() -> None:
    program = (
        "from worker.messages.catalogue import COMMANDS, check, find\n"
        "from worker.messages.rest.document import table\n"
        "assert find('credit.add.v1') and not find('nothing.of.the.kind.v1')\n"
        "assert table.cache_info().currsize == 0, table.cache_info()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
