"""A city pack as a test needs it: Jinzhong with its two desks, and whatever the test is about."""

from typing import Any

from shared.contract.city import City

CITY = "140700"

DESKS: dict[str, Any] = {
    f"{CITY}-110": {"name": "110", "name_en": "110", "number": "0354110"},
    f"{CITY}-120": {"name": "120", "name_en": "120", "number": "0354120", "medical": True},
}


def pack(code: str = CITY, **more: Any) -> dict[str, Any]:
    """The pack as it stands in a file."""
    return {
        "code": code,
        "name": "晋中市",
        "name_en": "Jinzhong",
        "area_code": "0354",
        "line": "0354-12356",
        "seats": ["seat-1", "seat-2"],
        "opens": "08:00",
        "closes": "02:00",
        "on_call": {"name": "督导", "number": "1"},
        "desks": DESKS,
        **more,
    }


def a_city(code: str = CITY, **more: Any) -> City:
    """The pack as services read it."""
    return City.model_validate(pack(code, **more))
