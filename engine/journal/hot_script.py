"""A script that is run at every turn."""

import hashlib
from collections.abc import Awaitable, Sequence
from typing import cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from engine.journal.direct_line import line_of

_Argument = bytes | str | int


class HotScript:
    """A script that answers with bytes.

    Args:
        client: whose line is used.
        text: in Lua.
    """

    def __init__(self, client: Redis, text: str) -> None:
        self._line = line_of(client)
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, keys: Sequence[_Argument], args: Sequence[_Argument]) -> bytes:
        """Run it once, and never again by itself.

        Raises:
            RedisError, OSError, TimeoutError: it ran, or did not.
        """
        try:
            return await self._ask("EVALSHA", self._sha, keys, args)
        except NoScriptError:
            # The server has been started since, and has run nothing.
            return await self._ask("EVAL", self._text, keys, args)

    def _ask(
        self, command: str, script: str, keys: Sequence[_Argument], args: Sequence[_Argument]
    ) -> Awaitable[bytes]:
        packed = hiredis.pack_command((command, script, len(keys), *keys, *args))  # type: ignore[arg-type]
        return cast("Awaitable[bytes]", self._line.ask(packed))
