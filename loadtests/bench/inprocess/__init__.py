"""What cannot be seen through HTTP: the cost of decisions, replay, snapshots and recovery.

    python -m loadtests.bench.inprocess NAME [--quick]

The one package of `loadtests` that imports the engine and the actors (the other exception
is the peer `ray_calls`; both are named in pyproject.toml). Each measurement runs in a
process of its own, with the interpreter set up as an owner's is.
"""
