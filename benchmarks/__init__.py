"""Measurements that stand in `docs/results`: each prints a table and can write JSON."""
