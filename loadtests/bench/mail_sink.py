"""A mail server that takes everything and notes when: one line of JSON for each mail.

python -m loadtests.bench.mail_sink PORT RECORD
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import TextIO

from aiosmtpd.smtp import SMTP, Envelope, Session

_BOOKING = re.compile(rb"bk_[0-9a-hjkmnp-tv-z]{28}")


class _Sink:
    """Handler of aiosmtpd; keeps no mail."""

    def __init__(self, record: TextIO) -> None:
        self._record = record

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Note which booking a mail is about, and when it was handed over."""
        content = envelope.content
        assert isinstance(content, bytes)
        found = _BOOKING.search(content)
        line = {"booking": found.group().decode() if found else "", "at_ns": time.monotonic_ns()}
        line["bytes"] = len(content)
        self._record.write(json.dumps(line) + "\n")
        self._record.flush()
        return "250 OK"


async def _serve(port: int, record: Path) -> None:
    with record.open("w") as lines:
        handler = _Sink(lines)
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(handler, enable_SMTPUTF8=True), "127.0.0.1", port
        )
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
