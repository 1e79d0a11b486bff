"""The benchmarks' own arithmetic, on small works."""
