"""Small changes to a cell on its way into a field. Each raises Unfit with what would be right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

# Area codes (DDD) that are in use in Brazil.
AREA_CODES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "16",
        "17",
        "18",
        "19",
        "21",
        "22",
        "24",
        "27",
        "28",
        "31",
        "32",
        "33",
        "34",
        "35",
        "37",
        "38",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "47",
        "48",
        "49",
        "51",
        "53",
        "54",
        "55",
        "61",
        "62",
        "63",
        "64",
        "65",
        "66",
        "67",
        "68",
        "69",
        "71",
        "73",
        "74",
        "75",
        "77",
        "79",
        "81",
        "82",
        "83",
        "84",
        "85",
        "86",
        "87",
        "88",
        "89",
        "91",
        "92",
        "93",
        "94",
        "95",
        "96",
        "97",
        "98",
        "99",
    ]
)
BRAZIL = "55"


class Unfit(Exception):
    """The value cannot be what the mapping says it is. The sentence says what would be right, without it."""


def strip(text: str) -> str:
    return " ".join(text.split())


def digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)


def plain(text: str) -> str:
    """Without accents: São becomes Sao."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))


def cpf(text: str) -> str:
    """Eleven digits, the last two of which check the others. Zeros that a spreadsheet lost are put back."""
    number = digits(text).zfill(11)
    if len(number) != 11:
        raise Unfit("a CPF has 11 digits")
    if len(set(number)) == 1 or number[9:] != _cpf_check(number[:9]):
        raise Unfit("its check digits are wrong: it is no CPF")
    return number


def _cpf_check(number: str) -> str:
    for _ in range(2):
        rest = (
            sum(int(sign) * weight for sign, weight in zip(reversed(number), range(2, 12), strict=False))
            * 10
            % 11
        )
        number += str(rest % 10)
    return number[-2:]


def cnpj(text: str) -> str:
    """Twelve digits or letters (letters since 2026) and two check digits."""
    number = re.sub(r"[^0-9A-Z]", "", text.upper()).zfill(14)
    if not re.fullmatch(r"[0-9A-Z]{12}[0-9]{2}", number):
        raise Unfit("a CNPJ has 12 digits or letters and 2 check digits")
    if len(set(number)) == 1 or number[12:] != _cnpj_check(number[:12]):
        raise Unfit("its check digits are wrong: it is no CNPJ")
    return number


def _cnpj_check(number: str) -> str:
    for _ in range(2):
        weights = [2 + place % 8 for place in range(len(number))]
        rest = (
            sum((ord(sign) - 48) * weight for sign, weight in zip(reversed(number), weights, strict=True))
            % 11
        )
        number += "0" if rest < 2 else str(11 - rest)
    return number[-2:]


def cpf_cnpj(text: str) -> str:
    """Whichever it is, by its length."""
    return cpf(text) if len(re.sub(r"[^0-9A-Za-z]", "", text)) <= 11 else cnpj(text)


def phone_br(text: str) -> str:
    """A Brazilian number as area code and number: 10 digits, or 11 of a mobile."""
    number = digits(text)
    if len(number) in (12, 13) and number.startswith(BRAZIL):
        number = number[2:]
    if len(number) in (11, 12) and number.startswith("0"):
        number = number[1:]
    if number[:2] not in AREA_CODES:
        raise Unfit("it has to begin with an area code (DDD) that exists, e.g. (11) 3333-4444")
    if not (re.fullmatch(r"..9\d{8}", number) or re.fullmatch(r"..[2-5]\d{7}", number)):
        raise Unfit(
            "behind the area code a mobile has 9 digits and begins with 9, another has 8 and begins with 2 to 5"
        )
    return number


def phone_br_55(text: str) -> str:
    """The same with the country code in front."""
    return BRAZIL + phone_br(text)


def decimal_comma(text: str) -> str:
    """1.234,50 becomes 1234.50. A currency sign in front is left out."""
    bare = re.sub(r"^[^\d,.+-]*", "", "".join(text.split()))
    if re.fullmatch(r"\d{1,3}(\.\d{3})+(,\d+)?|\d+(,\d+)?", bare):
        return bare.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d+\.\d{1,2}", bare):
        return bare  # a number of the spreadsheet's own
    raise Unfit("it has to be an amount with a comma, e.g. 1.234,50")


Transform = Callable[[str], str]
TRANSFORMS: Mapping[str, Transform] = {
    "strip": strip,
    "digits": digits,
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "plain": plain,
    "cpf": cpf,
    "cnpj": cnpj,
    "cpf_cnpj": cpf_cnpj,
    "phone_br": phone_br,
    "phone_br_55": phone_br_55,
    "decimal_comma": decimal_comma,
}
