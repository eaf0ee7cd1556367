"""The commands of ``penstock``, a module each; every one has ``register(app)``. Part of the composition root."""
