"""Forms nest as Stripe's do, and what is wrong with one is said in Stripe's words."""

import pytest

from loadtests.stripe_sandbox.errors import StripeError
from loadtests.stripe_sandbox.forms import parse_form, read
from loadtests.stripe_sandbox.params import Created, EventList, IntentCreate, IntentUpdate


def test_names_nest():
    form = parse_form(
        "amount=4500&metadata[booking]=bk%5F1&metadata[a b]=&created[gte]=5"
        "&automatic_payment_methods[enabled]=true&x[y][z]=1"
    )
    assert form == {
        "amount": "4500",
        "metadata": {"booking": "bk_1", "a b": ""},
        "created": {"gte": "5"},
        "automatic_payment_methods": {"enabled": "true"},
        "x": {"y": {"z": "1"}},
    }


@pytest.mark.parametrize("names", [("types[]", "types[]"), ("types[0]", "types[1]")])
def test_lists_come_with_numbers_or_without(names):
    assert parse_form(f"{names[0]}=a&{names[1]}=b") == {"types": ["a", "b"]}


def test_values_have_types():
    params = read(IntentCreate, parse_form("amount=4500&currency=EUR&confirm=true&expand[0]=x"))
    assert (params.amount, params.confirm, params.expand) == (4500, True, ["x"])
    assert read(EventList, parse_form("created[gt]=7&limit=3")).created == Created(gt=7)
    assert read(EventList, parse_form("created=7&delivery_success=false")).delivery_success is False
    assert read(IntentUpdate, parse_form("metadata=")).metadata == ""


@pytest.mark.parametrize(
    ("form", "code", "param", "message"),
    [
        ("currency=eur", "parameter_missing", "amount", "Missing required param: amount."),
        ("amount=5", "parameter_missing", "currency", "Missing required param: currency."),
        (
            "amount=5&currency=eur&colour=red",
            "parameter_unknown",
            "colour",
            "Received unknown parameter: colour",
        ),
        (
            "amount=5&currency=eur&automatic_payment_methods[on]=true",
            "parameter_unknown",
            "automatic_payment_methods[on]",
            "Received unknown parameter: automatic_payment_methods[on]",
        ),
        (
            "amount=5&currency=eur&automatic_payment_methods[allow_redirects]=never",
            "parameter_missing",
            "automatic_payment_methods[enabled]",
            "Missing required param: automatic_payment_methods[enabled].",
        ),
        ("amount=4.5&currency=eur", "parameter_invalid_integer", "amount", "Invalid integer: 4.5"),
        ("amount=&currency=eur", "parameter_invalid_integer", "amount", "Invalid integer: "),
        ("amount=-1&currency=eur", "parameter_invalid_integer", "amount", "Invalid integer: -1"),
        ("amount=5&currency=", "parameter_invalid_empty", "currency", None),
        ("amount=5&currency=euro", None, "currency", None),
        ("amount=5&currency=eur&capture_method=later", None, "capture_method", None),
        ("amount=5&currency=eur&confirm=maybe", None, "confirm", None),
        ("amount=5&currency=eur&metadata[a]=" + "x" * 501, None, "metadata", None),
    ],
)
def test_what_is_wrong_is_named(form, code, param, message):
    with pytest.raises(StripeError) as refused:
        read(IntentCreate, parse_form(form))
    error = refused.value.error
    assert refused.value.status == 400
    assert not refused.value.began
    assert error["type"] == "invalid_request_error"
    assert (error.get("code"), error["param"]) == (code, param)
    assert message in (None, error["message"])


def test_a_value_is_no_hash():
    with pytest.raises(StripeError, match="Invalid hash: metadata"):
        parse_form("metadata=x&metadata[a]=b")


def test_a_form_has_an_end():
    with pytest.raises(StripeError, match="Invalid request"):
        parse_form("&".join(f"a{n}=1" for n in range(1_001)))
