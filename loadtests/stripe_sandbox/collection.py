"""Objects of one kind in the order of their creation, and lists of them."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from loadtests.stripe_sandbox.errors import Object, missing
from loadtests.stripe_sandbox.params import Created, Listing


class Collection:
    """Objects by id, newest last. Objects are never changed, only replaced.

    Args:
        kind: what they are called in errors.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._objects: dict[str, Object] = {}
        self._ids: list[str] = []
        self._created: list[int] = []
        self._places: dict[str, int] = {}
        self._of_intent: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._objects.values())

    def get(self, object_id: str) -> Object | None:
        """Return an object, None if it is not there."""
        return self._objects.get(object_id)

    def put(self, thing: Object) -> None:
        """Add an object, or replace it."""
        object_id = thing["id"]
        if object_id not in self._places:
            self._places[object_id] = len(self._ids)
            self._ids.append(object_id)
            # A clock may go back; an order may not.
            self._created.append(max([thing["created"], *self._created[-1:]]))
            if intent := thing.get("payment_intent"):
                self._of_intent.setdefault(intent, []).append(object_id)
        self._objects[object_id] = thing

    def remove(self, object_id: str) -> None:
        """Forget an object; its place stays empty."""
        self._objects.pop(object_id, None)

    def of_intent(self, intent_id: str) -> list[Object]:
        """Return what belongs to an intent, oldest first."""
        return [self._objects[found] for found in self._of_intent.get(intent_id, ())]

    def page(
        self,
        listing: Listing,
        url: str,
        wanted: Callable[[Object], bool] = lambda _: True,
        intent_id: str | None = None,
    ) -> Object:
        """Return a list as the API answers it, newest first.

        Args:
            listing: which part of it.
            url: where it was asked for.
            wanted: says which objects belong to it.
            intent_id: only what belongs to this intent.

        Raises:
            StripeError: the cursor is not there.
        """
        first, last = self._between(listing.created)
        if listing.ending_before is not None:
            first = max(first, self._place(listing.ending_before, "ending_before") + 1)
        elif listing.starting_after is not None:
            last = min(last, self._place(listing.starting_after, "starting_after"))
        places: Sequence[int] = range(first, last)
        if intent_id is not None:
            of_intent = self._of_intent.get(intent_id, ())
            places = [place for place in map(self._place, of_intent) if first <= place < last]
        oldest_first = listing.ending_before is not None
        found = self._first(listing.limit + 1, places if oldest_first else reversed(places), wanted)
        data = found[: listing.limit]
        return {
            "object": "list",
            "data": data[::-1] if oldest_first else data,
            "has_more": len(found) > listing.limit,
            "url": url,
        }

    def _first(
        self, count: int, places: Iterable[int], wanted: Callable[[Object], bool]
    ) -> list[Object]:
        found: list[Object] = []
        for place in places:
            thing = self._objects.get(self._ids[place])
            if thing is not None and wanted(thing):
                found.append(thing)
                if len(found) == count:
                    break
        return found

    def _place(self, object_id: str, param: str = "id") -> int:
        if object_id not in self._places:
            raise missing(self.kind, object_id, param)
        return self._places[object_id]

    def _between(self, created: Created | int | None) -> tuple[int, int]:
        """Return the first place of this time, and the first one after it."""
        if created is None:
            return 0, len(self._ids)
        if isinstance(created, int):
            created = Created(gte=created, lte=created)
        since = max(created.gte or 0, -1 if created.gt is None else created.gt + 1)
        first = self._not_before(since)
        ends = [created.lt] if created.lt is not None else []
        ends += [created.lte + 1] if created.lte is not None else []
        return first, self._not_before(min(ends)) if ends else len(self._ids)

    def _not_before(self, created: int) -> int:
        return bisect_left(self._created, created)
