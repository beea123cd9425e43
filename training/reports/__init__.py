"""The HTML pages of a run and of its validation."""
