"""The contracts: one ``.avsc`` a record, in the folder of the topic that carries it, and the lock file."""
