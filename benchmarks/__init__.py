"""Benchmarks: speed, strength and honesty against stated bars; raw results in `results/`."""
