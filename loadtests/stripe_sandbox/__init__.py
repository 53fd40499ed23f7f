r"""A Stripe of our own: behaves as Stripe documents, moves no money, and fails on demand.

    python -m loadtests.stripe_sandbox --port 12111 --data-dir .sandbox \
        --webhook-url http://127.0.0.1:8000/api/v1/stripe/events --webhook-secret whsec_test

prints `{"url": ..., "pid": ...}` once it listens, on this machine only. The `stripe`
package speaks to it with `StripeClient("sk_test_sandbox", base_addresses={"api": url})`,
a browser with the key `pk_test_sandbox`.

`/v1` has payment intents, charges, refunds, disputes, events and webhook endpoints, with
idempotency keys, signed webhooks and Stripe's test payment methods (`pm_card_visa`,
`pm_card_chargeDeclined`, `pm_card_threeDSecure2Required` and so on). `/_sandbox` is for
whoever tests:

    POST   /_sandbox/payment_intents/{id}/pay           {"payment_method": "pm_card_visa"}
    POST   /_sandbox/payment_intents/{id}/authenticate  {"outcome": "succeed" | "fail"}
    POST   /_sandbox/payment_intents/{id}/settle        {}: processing ends now
    POST   /_sandbox/payment_intents/{id}/dispute       {"reason": "fraudulent", "amount": 500}
    POST   /_sandbox/disputes/{id}/close                {"status": "won" | "lost"}
    POST   /_sandbox/refunds/{id}/settle                {"status": "succeeded" | "failed"}
    POST   /_sandbox/events/{id}/resend                 {"copies": 1}
    GET    /_sandbox/payment_intents/{id}/authenticate  the same as a page, for people
    GET    /_sandbox/books                              what it all adds up to
    POST   /_sandbox/reset                              forgets all but the endpoints
    POST   /_sandbox/faults                             a `Fault`, or a list of them
    GET    /_sandbox/faults                             what goes wrong, and how often it did
    DELETE /_sandbox/faults, /_sandbox/faults/{id}      ends them, or one

With a data directory a killed sandbox forgets nothing that it told anyone.
"""
