"""Load tests with Locust: stories of buyers and doors, shapes of crowds, and a verdict.

Locust and gevent live in an environment of their own (`.venv-load`), which knows the service
by its HTTP only. `make load` runs `python -m loadtests.locust`: a service for the length of
the run, and Locust against it. See docs/LOAD.md.

Modules that import neither locust nor gevent are tested like everything else: courses,
arrivals, outcomes, objectives, audits, desk, preparing.
"""
