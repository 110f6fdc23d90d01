"""Benchmarks: what hartstorm's parts do in a second, beside what others do on the same host in the same run."""
