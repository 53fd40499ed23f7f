"""What scanners at the doors send."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from engine.limits import MANIFEST_MAX, OFFLINE_SCANS_MAX
from gateway.bodies import ONE_LINE, Body, Moment, as_sent, form, of_validation

#: Whatever a camera makes of a code: a foreign one may be long.
_Code = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
#: Printable: it is shown to whoever stands at another gate.
_Gate = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True, pattern=ONE_LINE),
    as_sent(ONE_LINE),
]
_Nonce = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]


def _if_offline(at: datetime | None, info: ValidationInfo) -> datetime | None:
    offline = info.data.get("offline")
    if offline and at is None:
        raise ValueError("is needed: when was it, without a connection?")
    if offline is False and at is not None:
        raise ValueError("is only for scans made offline")
    return at


class ScanBody(Body):
    """Body of `POST /events/{id}/check-ins`: a code, as the scanner has read it.

    `nonce` names the scan: a repeat under the same one gets the same answer. Without one,
    each request is a scan of its own. `at` is for scans that were made `offline`.
    """

    model_config = form(qr="T1K7…", gate="North 2", type="entry", nonce="7f3a")

    qr: _Code
    gate: _Gate
    type: Literal["entry", "exit"] = "entry"
    nonce: _Nonce | None = None
    offline: Annotated[bool, Field(strict=True)] = False
    at: Annotated[Moment | None, Field(validate_default=True), AfterValidator(_if_offline)] = None


class OfflineScanBody(ScanBody):
    """A scan that was made without a connection.

    It needs its nonce, so that an upload whose answer was lost can be repeated.
    """

    nonce: _Nonce
    offline: Literal[True]
    at: Moment


class OfflineScansBody(Body):
    """Body of `POST /events/{id}/check-ins/offline`: scans in the order in which they were made."""

    model_config = form(
        scans=[
            {
                "qr": "T1K7…",
                "gate": "North 2",
                "nonce": "7f3a",
                "offline": True,
                "at": "2096-03-01T18:31:07Z",
            }
        ]
    )

    scans: Annotated[list[OfflineScanBody], Field(min_length=1, max_length=OFFLINE_SCANS_MAX)]


class UndoBody(Body):
    """Body of `POST /events/{id}/check-ins/undo`."""

    model_config = form(ticket_id="tkt_0123456789abcdefghjkmnpqrstv00")

    ticket_id: Annotated[str, StringConstraints(max_length=64)]


class ManifestPage(Body):
    """Which tickets of `GET /events/{id}/check-ins/manifest` are wanted.

    `starting_after` is the `next` of the page before, or the id of its last ticket.
    """

    since: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=MANIFEST_MAX)] = MANIFEST_MAX
    starting_after: Annotated[str | None, StringConstraints(max_length=64)] = None


_scan_body = TypeAdapter(ScanBody)


def parse_scan(body: bytes) -> ScanBody:
    """Return a scan.

    Raises:
        Problem: `malformed_json` or `invalid_request`, naming every wrong field.
    """
    try:
        return _scan_body.validate_json(body)
    except ValidationError as error:
        raise of_validation(error.errors(include_url=False, include_input=False)) from error
