"""Calls: history with pages, the older statistics, recordings, and placing one."""

import re
from typing import Any

from worker.simulators.ringme.calls import Call, Refusal
from worker.simulators.ringme.platform import Platform, Row
from worker.simulators.ringme.records import checked, needed

from .extensions import page_of, whole
from .registry import operation

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def between(call: Call, rows: list[Row], field: str = "init_time_gmt") -> list[Row]:
    times = [call.query.get(name, "") for name in ("start_datetime", "end_datetime")]
    for text in times:
        if not _TIME.fullmatch(text):
            raise Refusal(400, "bad_request", "start_datetime and end_datetime are YYYY-MM-DD HH:MM:SS")
    return [row for row in rows if times[0] <= row[field] < times[1]]


def calls_of(platform: Platform, call: Call) -> list[Row]:
    client = platform.client(call).record["id"]
    return [row for row in platform.calls if row["client_id"] == client]


def shown(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "client_id"}


@operation("call_history.list", "GET", "/client/{client_id}/call_history/")
def history(platform: Platform, call: Call) -> Row:
    rows = between(call, calls_of(platform, call))
    if (extension := whole(call, "extension_id")) is not None:
        rows = [row for row in rows if row["extension_id"] == extension]
    for name in ("flow", "to_username"):
        if name in call.query:
            rows = [row for row in rows if row[name] == call.query[name]]
    order = call.query.get("order", "asc")
    rows.sort(key=lambda row: (row["init_time_gmt"], row["call_uuid"]), reverse=order == "desc")
    size = whole(call, "per_page") or whole(call, "count") or platform.page_size
    found = [shown(row) for row in page_of(platform, call, rows)]
    return {"page": whole(call, "page") or 1, "per_page": size, "order": order, "call_history": found}


@operation("call_history.get", "GET", "/client/{client_id}/call_history/{call_uuid}")
def one(platform: Platform, call: Call) -> Row:
    for row in calls_of(platform, call):
        if row["call_uuid"] == call.path["call_uuid"]:
            return shown(row)
    raise Refusal(404, "not_found", "Record not found")


@operation("calls.list", "GET", "/client/{client_id}/calls/")
def older(platform: Platform, call: Call) -> list[Row]:
    return [shown(row) for row in between(call, calls_of(platform, call))]


@operation("cdr.list", "GET", "/extension/{extension_id}/cdr/")
def cdr(platform: Platform, call: Call) -> list[Row]:
    id_ = platform.extension(call).record["id"]
    return [shown(row) for row in between(call, platform.calls) if row["extension_id"] == id_]


@operation("cdr_stats.get", "GET", "/extension/{extension_id}/cdr/stats/")
def stats(platform: Platform, call: Call) -> Row:
    return {"calls": len(cdr(platform, call))}


@operation("record.list", "GET", "/client/{client_id}/record/")
def recordings(platform: Platform, call: Call) -> list[Row]:
    rows = platform.rows("recordings", platform.client(call).record["id"])
    return between(call, rows, "create_date")[: whole(call, "count")]


@operation("record.get", "GET", "/client/{client_id}/record/{record_id}")
def recording(platform: Platform, call: Call) -> Row:
    return dict(_recording(platform, call))


@operation("record.delete", "DELETE", "/client/{client_id}/record/{record_id}")
def drop_recording(platform: Platform, call: Call) -> None:
    del platform.tables["recordings"][_recording(platform, call)["id"]]


def _recording(platform: Platform, call: Call) -> Row:
    client = platform.client(call).record["id"]
    found = platform.tables["recordings"].get(call.number("record_id"))
    if found is None or found["client_id"] != client:
        raise Refusal(404, "not_found", "Record not found")
    return found


@operation("callback.create", "POST", "/extension/{extension_id}/callback/")
def callback(platform: Platform, call: Call) -> Row:
    found, given = platform.extension(call), call.fields()
    values: dict[str, Any] = checked(given, {"src_num": list, "dst_num": str})
    needed(values, "src_num", "dst_num")
    id_ = platform.next_id()
    platform.calls.append(
        new_call(found.record["client_id"], found.record["id"], id_, to_username=values["dst_num"])
    )
    return {"call_api_id": f"api-{id_}", "call_id": platform.calls[-1]["call_uuid"]}


def new_call(client_id: int, extension_id: int | None, number: int, **values: Any) -> Row:
    """A call of 30 seconds that ended well, unless said otherwise."""
    minute, hour = number % 60, number // 60 % 24
    start = f"2026-05-{1 + number // 1440 % 28:02d} {hour:02d}:{minute:02d}"
    return {
        "client_id": client_id,
        "call_uuid": f"00000000-0000-4000-8000-{number:012d}",
        "flow": "out",
        "from_username": "101",
        "to_username": "74950000000",
        "init_time_gmt": f"{start}:00",
        "start_time_gmt": f"{start}:01",
        "bridged_time_gmt": f"{start}:05",
        "hangup_time_gmt": f"{start}:35",
        "duration": 34,
        "bridged_duration": 30,
        "result": "answered",
        "hangup_cause": "NORMAL_CLEARING",
        "hangup_disposition": "caller_bye",
        "extension_id": extension_id,
        "cdr": [],
        **values,
    }
