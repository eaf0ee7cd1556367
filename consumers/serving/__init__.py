"""``penstock serve``: the views over HTTP: a query API, a stream of what changes, and the live page."""
