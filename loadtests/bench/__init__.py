"""The benchmark: `python -m loadtests.bench`, or `onsale bench`."""
