"""What one process has seen before, for a while: the last of it, and never more than so much."""


class Remembered:
    """The last things that were put in, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._things: dict[str, None] = {}

    def __contains__(self, thing: str) -> bool:
        return thing in self._things

    def add(self, thing: str) -> bool:
        """Remember a thing; return whether it is new."""
        if thing in self._things:
            return False
        if len(self._things) >= self._most:
            del self._things[next(iter(self._things))]
        self._things[thing] = None
        return True
