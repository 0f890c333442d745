"""Records as the web site, the device and the app write them, with only what a test is about spelled out."""

from __future__ import annotations

import json
from typing import Any

AT = 1_655_564_376_000
DAY = 86_400_000


def customer(
    email: str, *, shares: int | None = AT - 1_000_000, serial: str | None = None, updated: int = AT - 2_000_000
) -> dict[str, Any]:
    """A customer record; `shares` None is a withdrawal, or no agreement yet."""
    record: dict[str, Any] = {
        "customerName": f"Name of {email}",
        "email": email,
        "phone": "8015551212",
        "birthDay": "1970-01-01",
        "serialNumber": serial or f"device-of-{email}",
        "registrationDate": AT - 3_000_000,
        "lastUpdateDate": updated,
    }
    return record if shares is None else {**record, "shareWithResearchAsOfDate": shares}


def motion(email: str, at: int = AT, x: float = 1.0) -> dict[str, Any]:
    return {"user": email, "timestamp": at, "x": x, "y": -0.5, "z": 0.25}


def reading(serial: str, at: int = AT, distance: int = 200) -> dict[str, Any]:
    return {"sensorReadingTime": at, "serialNumber": serial, "distanceFromObject": distance}


def lines(*records: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(record, separators=(',', ':'))}\n" for record in records)


def walk(*emails: str, at: int = AT, shares: int | None = AT - 1_000_000) -> dict[str, str]:
    """Landing files of people who have each walked once, named so that Spark reads them itself."""
    name = f"{emails[0].partition('@')[0]}-{at}.json"
    return {
        f"customer_landing/{name}": lines(*(customer(email, shares=shares) for email in emails)),
        f"accelerometer_landing/{name}": lines(*(motion(email, at) for email in emails)),
        f"step_trainer_landing/{name}": lines(*(reading(f"device-of-{email}", at) for email in emails)),
    }
