"""Pools side by side on real servers: the same driver, the same workload, in one run."""
