"""I10: names, addresses and secrets of payments are neither in the store nor in the logs."""

import copy
import logging

import pytest

from tests.in_process import BASE
from tests.paying import Shop

EMAIL, NAME, HOLDER = "ann.perkins@example.org", "Ann Meredith Perkins", "Leslie Barbara Knope"


async def test_nothing_of_a_buyer_is_kept_or_logged(
    shop: Shop, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    event_id = await shop.onsale.event(
        "acme", refund_policy={"until_hours_before": 1, "percent": 50}
    )
    booking_id = await shop.held(event_id, ga=2)
    path = f"{BASE}/bookings/{booking_id}/payment-intent"
    ann = shop.onsale.token("buyer", "ann", email=EMAIL)
    body = {"contact": {"email": EMAIL, "name": NAME, "locale": "en"}, "holders": [HOLDER]}
    opened = (await shop.onsale.post(path, ann, json=body)).json()
    shop.decline(opened["payment_intent_id"])
    shop.sandbox.pay(opened["payment_intent_id"])
    mail = [copy.deepcopy(event) for event in shop.mail()]
    for event in mail:
        found = event["data"]["object"]
        found["receipt_email"] = EMAIL
        found["billing_details"] = {"email": EMAIL, "name": NAME}
        found["shipping"] = {"name": HOLDER}
    assert opened["client_secret"] in str(mail), "the test tells nothing"
    await shop.deliver(mail)
    await shop.until(booking_id, "CONFIRMED")
    forged = copy.deepcopy(mail[-1])
    forged["data"]["object"]["metadata"]["customer"] = "bob"
    await shop.deliver([forged])
    assert len(await shop.put_aside()) == 1
    await shop.refund(booking_id, ga=1)
    await shop.settled()
    await shop.onsale.desk.reconcile(0)

    secrets = [
        EMAIL,
        NAME,
        HOLDER,
        opened["client_secret"],
        opened["client_secret"].split("_secret_")[1],
    ]
    stored = await shop.onsale.everything()
    assert len(stored) > 5
    streams = [
        await shop.onsale.redis.xrange(key)
        for key in stored
        if await shop.onsale.redis.type(key) == b"stream"
    ]
    everywhere = f"{stored}{streams}"
    logged = capsys.readouterr()
    told = logged.out + logged.err + caplog.text
    assert booking_id in told, "the test has lost the logs"
    for secret in secrets:
        assert secret not in everywhere
        assert secret not in told
