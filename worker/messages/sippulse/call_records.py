"""SIPPulse's call records: the columns of `vi_cdrs` and `acc` as `page` events show them.

The tables are those of the vendor's integration page (section 4 of it): rated calls in the view `vi_cdrs`, calls
that were not completed in the table `acc`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

# How a column's value is shown. integer: a number; decimal: a decimal text (what MySQL calls double, money
# included); flag: true or false; time: RFC 3339 with the zone that the settings name; seconds: a number, kept by
# the platform as a text; text.
Shape = Literal["integer", "decimal", "flag", "time", "seconds", "text"]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    sql: str  # the type that the vendor's page gives
    shape: Shape
    meaning: str
    always: bool = True  # False: some versions of the platform lack it


@dataclass(frozen=True, slots=True)
class Table:
    """`time`: the column with the call's start."""

    name: str
    time: str
    columns: tuple[Column, ...]

    @property
    def needed(self) -> frozenset[str]:
        """Columns without which no reading makes sense."""
        return frozenset({"id", self.time, "accountcode", "service"})


def _columns(text: str) -> tuple[Column, ...]:
    rows = [line.split("|") for line in text.strip().splitlines()]
    return tuple(
        Column(name.strip(), sql.strip(), _shape(name.strip(), sql.strip()), meaning.strip().removesuffix("*"),
               always=not meaning.strip().endswith("*"))
        for name, sql, meaning in rows
    )  # fmt: skip


def _shape(name: str, sql: str) -> Shape:
    if name == "duration":
        return "seconds"
    kinds: tuple[tuple[str, Shape], ...] = (
        ("tinyint(1)", "flag"),
        ("bigint", "integer"),
        ("int", "integer"),
        ("double", "decimal"),
        ("datetime", "time"),
    )
    return next((shape for beginning, shape in kinds if sql.startswith(beginning)), "text")


# column | SQL type | meaning; a star at the end: only some versions have it.
VI_CDRS = Table(
    "vi_cdrs",
    "call_start_time",
    _columns("""
id | bigint | number of the record, growing
call_start_time | datetime | when the call began
src_uri | varchar(255) | caller's SIP URI
dst_uri | varchar(255) | destination's SIP URI
caller_domain | varchar(255) | caller's domain
caller_id | varchar(255) | caller's login
sip_call_id | varchar(255) | the dialog's id
sip_from_tag | varchar(255) | its from tag
sip_to_tag | varchar(255) | its to tag
duration | varchar(255) | seconds
rate | double | sale rate that was applied
price | double | what the subscriber pays for the call
accountcode | varchar(128) | user@domain of the caller
service | varchar(32) | 0800, acobrar, timeout, local, net, pstn or did
rateplan_name | varchar(64) | rate plan
rateplan_tx_conn | int(11) | its connection charge unit
rateplan_cadency | int(11) | its cadence
rateplan_markup | double | its markup
rateplan_prepaid | tinyint(1) | false: postpaid, true: prepaid
rateplan_rateid | int(11) | its group of rates
reseller_id | int(11) | null: no reseller
reseller_name | varchar(64) | null: no reseller
reseller_rateplan_id | int(11) | the reseller's rate plan
gwid | int(10) | gateway
gw_address | varchar(64) | the gateway's address
gw_name | varchar(64) | the gateway's name
gw_rateid | int(11) | the gateway's group of rates
providerid | int(11) | provider
provider_name | varchar(64) | the provider's name
provider_tx_conn | int(11) | the provider's connection charge unit
provider_cadency | int(11) | the provider's cadence
profile | varchar(20) | the subscriber's profile
user_agent | varchar(64) | user agent
src_ip | varchar(15) | caller's address
matched_prefix | varchar(20) | prefix of the sale rate
matched_prefix_name | varchar(128) | name of the sale rate
reseller_rate | double | as rate, for the reseller
reseller_price | double | as price, for the reseller
reseller_matched_prefix | varchar(20) | as matched_prefix, for the reseller
reseller_matched_prefix_name | varchar(128) | as matched_prefix_name, for the reseller
cost | double | cost rate
cost_price | double | what the call costs in all
"""),
)
ACC = Table(
    "acc",
    "time",
    _columns("""
id | bigint | number of the record, growing
time | datetime | when the call began
sip_code | varchar(3) | SIP code of the cause, e.g. 408
sip_reason | varchar(32) | its words
src_uri | varchar(255) | caller's SIP URI
dst_uri | varchar(255) | destination's SIP URI
caller_domain | varchar(255) | caller's domain
caller_id | varchar(255) | caller's login
callid | varchar(255) | the dialog's id
from_tag | varchar(255) | its from tag
to_tag | varchar(255) | its to tag
accountcode | varchar(128) | user@domain
service | varchar(32) | as in vi_cdrs
gwid | int(10) | gateway
profile | varchar(20) | profile
user_agent | varchar(64) | user agent
src_ip | varchar(15) | caller's address
poippi_origem | varchar(10) | demarcation point of origin (DETRAF), STFC version only*
poippi_destino | varchar(10) | demarcation point of destination, STFC version only*
eot_origem | varchar(3) | EOT of origin, STFC version only*
eot_destino | varchar(3) | EOT of destination, STFC version only*
direction | varchar(8) | inbound or outbound, STFC version only*
descritor | varchar(5) | descriptor of the call, STFC version only*
"""),
)
TABLES: Mapping[str, Table] = MappingProxyType({"completed": VI_CDRS, "failed": ACC})


# How each shape stands in a page, as JSON Schema has it.
_SCHEMAS: Mapping[Shape, dict[str, Any]] = {
    "integer": {"type": ["integer", "null"]},
    "decimal": {"type": ["string", "null"], "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    "flag": {"type": ["boolean", "null"]},
    "time": {"type": ["string", "null"], "format": "date-time"},
    "seconds": {
        "type": ["integer", "string", "null"],
        "description": "a text where the platform kept no number",
    },
    "text": {"type": ["string", "null"]},
}


def row_schema(table: Table) -> dict[str, Any]:
    """JSON Schema of a page's row. Every column is there; null: the platform has no value, or no such column."""
    return {
        "type": "object",
        "title": table.name,
        "properties": {
            each.name: {**_SCHEMAS[each.shape], "description": each.meaning} for each in table.columns
        },
        "required": [each.name for each in table.columns],
        "additionalProperties": False,
    }
