"""The scenarios, by what is hurt."""
