"""Faults on real parts, and the proof after each that nothing was lost and nothing counted twice.

``python -m chaos`` plays all scenarios; see :mod:`chaos.scenario` for how one is written, :mod:`chaos.rig` for what it
plays on. ``python -m chaos report`` makes RELIABILITY.md of the results.
"""
