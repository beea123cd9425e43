"""Reports of runs and of their validation."""
