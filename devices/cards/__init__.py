"""Parameter cards as files: what they hold, what is refused, how older ones are read."""
