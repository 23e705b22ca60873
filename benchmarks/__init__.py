"""Benchmarks: scripts that measure this product, outside the package. See README.md."""
