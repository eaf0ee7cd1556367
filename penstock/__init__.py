"""Penstock's shared kernel: what every stage needs, and nothing that one stage does."""
