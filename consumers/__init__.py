"""Keep views that are exactly right, and show them."""
