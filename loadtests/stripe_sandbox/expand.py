"""`expand`: objects in the place of their ids."""

from typing import Any

from loadtests.stripe_sandbox.books import Change
from loadtests.stripe_sandbox.errors import Object, StripeError, refused

_KINDS = {"pi": "payment_intent", "ch": "charge", "re": "refund", "dp": "dispute"}


def expanded(change: Change, body: Object, paths: list[str]) -> Object:
    """Return an answer with the objects that these paths lead to, as `data.latest_charge`.

    Raises:
        StripeError: a path leads to nothing that can be expanded.
    """
    for path in paths:
        body = _expand(change, body, path.split("."), path)
    return body


def _expand(change: Change, node: Any, steps: list[str], path: str) -> Any:
    if isinstance(node, list):
        return [_expand(change, one, steps, path) for one in node]
    if isinstance(node, str):
        kind = _KINDS.get(node.partition("_")[0])
        node = change.find(kind, node) if kind else None
        if node is None:
            raise _cannot(path)
    if not steps or node is None:
        return node
    first, *rest = steps
    if first not in node:
        raise _cannot(path)
    return {**node, first: _expand(change, node[first], rest, path)}


def _cannot(path: str) -> StripeError:
    return refused(f"This property cannot be expanded ({path}).", param="expand", began=False)
