"""Fold events into metrics, with Faust."""
