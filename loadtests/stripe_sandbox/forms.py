"""Requests as Stripe takes them: forms whose names nest, `metadata[booking]=bk_1`."""

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from loadtests.stripe_sandbox.errors import Object, StripeError, refused
from loadtests.stripe_sandbox.params import Params

P = TypeVar("P", bound=Params)

#: Far more than any request has; beyond it somebody is playing.
_FIELDS_MAX = 1_000
_LISTS = {"expand", "types", "payment_method_types", "enabled_events"}
_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<is>missing required|contains unknown) field `(?P<name>[^`]*)`")


def parse_form(encoded: str) -> Object:
    """Parse a form, or a query string, into nested dicts.

    Raises:
        StripeError: it is no form.
    """
    tree: Object = {}
    try:
        fields = parse_qsl(encoded, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise _invalid(f"Invalid request: {error}") from None
    for name, value in fields:
        head, *inner = name.replace("]", "").split("[")
        if head in _LISTS:
            tree.setdefault(head, []).append(value)
            continue
        node, last = tree, head
        for step in inner:
            node, last = node.setdefault(last, {}), step
            if not isinstance(node, dict):
                raise _invalid(f"Invalid hash: {head}", param=head)
        node[last] = value
    return tree


def read(kind: type[P], form: Object) -> P:
    """Check the parameters of an operation.

    Raises:
        StripeError: one is missing, unknown or not of its type.
    """
    try:
        return msgspec.convert(form, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), form) from None


def _refusal(problem: str, form: Object) -> StripeError:
    """Say what msgspec found the way Stripe says it."""
    found = _WHERE.match(problem)
    assert found is not None
    # What msgspec says of any one value of a hash, `metadata[...]`, is said of the hash.
    path = [step for step in (found["path"] or "").replace("[...]", "").split(".") if step]
    if field := _FIELD.match(found["what"]):
        param = _param([*path, field["name"]])
        if field["is"] == "missing required":
            return _invalid(f"Missing required param: {param}.", "parameter_missing", param)
        return _invalid(f"Received unknown parameter: {param}", "parameter_unknown", param)
    param, given = _param(path), _at(form, path)
    if found["what"].startswith("Expected `int"):
        return _invalid(f"Invalid integer: {given}", "parameter_invalid_integer", param)
    if given == "":
        message = (
            f"You passed an empty string for '{param}'. We assume empty values are an attempt to"
            f" unset a parameter; however '{param}' cannot be unset."
        )
        return _invalid(message, "parameter_invalid_empty", param)
    return _invalid(f"Invalid {param}: {found['what']}", param=param)


def _invalid(message: str, code: str | None = None, param: str | None = None) -> StripeError:
    return refused(message, code, param, began=False)


def _param(path: list[str]) -> str:
    head, *inner = path or [""]
    return head + "".join(f"[{step}]" for step in inner)


def _at(form: Object, path: list[str]) -> Any:
    node: Any = form
    for step in path:
        node = node.get(step) if isinstance(node, dict) else None
    return node
