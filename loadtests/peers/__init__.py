"""Peers: other ways to a durable hold, each built as well as its idea allows.

Every peer keeps the contract of `contract.py` behind the same HTTP front (`front.py`), so
that a comparison is one of ways to a durable hold and of nothing else. docs/BENCHMARK.md
lists their settings and how these were found.
"""
