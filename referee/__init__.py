"""Verify, explain and keep the books: other code than the stages, on purpose."""
