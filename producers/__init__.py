"""Producers: make events, or read them from files, and send them. Pure models and faults; a thin shell delivers."""
