"""What the stages cost: events per second, by the clock and per CPU second, on a real broker.

``python -m bench`` starts the parts, fills topics once, measures each stage, compares every answer with a direct
computation before it prints a figure, and writes ``bench/results/latest.json``. It is not installed with Penstock.
"""
