"""The ferroelectric film as switching groups."""
