"""A FAKE; see `api`."""
