"""What no scan can be made of: every wrong field is named, and nothing is kept."""

import pytest

from tests.gate import PAST, Gate, gate
from tests.in_process import InProcess


@pytest.fixture
async def doors(onsale: InProcess) -> Gate:
    return await gate(onsale)


SCAN = {"qr": "x", "gate": "North"}
AT = {"at": PAST, "offline": True}


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/qr", "/gate"}),
        (SCAN | {"qr": ""}, {"/qr"}),
        (SCAN | {"qr": 7}, {"/qr"}),
        (SCAN | {"qr": None}, {"/qr"}),
        (SCAN | {"qr": "x" * 1_025}, {"/qr"}),
        (SCAN | {"gate": ""}, {"/gate"}),
        (SCAN | {"gate": "  "}, {"/gate"}),
        (SCAN | {"gate": "a\nb"}, {"/gate"}),
        (SCAN | {"gate": "x" * 65}, {"/gate"}),
        (SCAN | {"type": "in"}, {"/type"}),
        (SCAN | {"nonce": ""}, {"/nonce"}),
        (SCAN | {"nonce": "a b"}, {"/nonce"}),
        (SCAN | {"nonce": "x" * 129}, {"/nonce"}),
        (SCAN | {"nonce": 7}, {"/nonce"}),
        (SCAN | {"at": "yesterday", "offline": True}, {"/at"}),
        (SCAN | {"at": "2026-01-01T00:00:00", "offline": True}, {"/at"}),
        (SCAN | {"offline": 1}, {"/offline"}),
        (SCAN | {"ticket": "x"}, {"/ticket"}),
        (SCAN | {"offline": True}, {"/at"}),
        (SCAN | {"at": PAST}, {"/at"}),
        (SCAN | {"at": PAST, "offline": False}, {"/at"}),
    ],
    ids=str,
)
async def test_every_wrong_field_of_a_scan_is_named(
    doors: Gate, body: dict, pointers: set[str]
) -> None:
    async with doors.onsale.unchanged():
        answer = await doors.onsale.post(doors.path, doors.staff, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert all(error["message"] for error in answer.json()["errors"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"qr":"\\ud800"}'])
async def test_what_is_no_object_is_no_scan(doors: Gate, content: bytes) -> None:
    answer = await doors.onsale.post(doors.path, doors.staff, content=content)
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("malformed_json", "invalid_request")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/scans"}),
        ({"scans": []}, {"/scans"}),
        ({"scans": [SCAN | AT | {"nonce": "1", "gate": ""}]}, {"/scans/0/gate"}),
        ({"scans": [SCAN | AT | {"nonce": "1"}, SCAN | AT]}, {"/scans/1/nonce"}),
        ({"scans": [SCAN | {"nonce": "1"}]}, {"/scans/0/offline", "/scans/0/at"}),
        ({"scans": [SCAN | {"nonce": "1", "offline": True}]}, {"/scans/0/at"}),
    ],
    ids=str,
)
async def test_every_wrong_field_of_an_upload_is_named(
    doors: Gate, body: dict, pointers: set[str]
) -> None:
    async with doors.onsale.unchanged():
        answer = await doors.onsale.post(f"{doors.path}/offline", doors.staff, json=body)
    assert answer.status_code == 422, answer.text
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
