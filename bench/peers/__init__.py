"""Penstock beside its peers: the same topic, the same job, answers compared first. Run by ``python -m bench.peers``.

Each peer is one small program, idiomatic by its own documentation; those in Python run in environments of their own.
"""
