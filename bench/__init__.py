"""Benchmarks: what this server does beside what others do, in the same run on the same machine. See README.md."""
