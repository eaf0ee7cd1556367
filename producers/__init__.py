"""Make events and send them."""
