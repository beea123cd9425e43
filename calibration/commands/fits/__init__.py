"""``bruno fit``: a command in a file of its own for each device."""
