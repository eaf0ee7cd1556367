"""``penstock demo``: the whole pipeline on embedded parts, each stage a process of its own."""
