"""Records that were measured elsewhere, one module for each kind of file."""
