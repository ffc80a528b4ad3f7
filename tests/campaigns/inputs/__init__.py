"""Bad inputs by kind, each with the command that a person would give it to."""
