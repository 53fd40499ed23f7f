"""Load generators, the benchmark and the fault drills; they speak HTTP."""
