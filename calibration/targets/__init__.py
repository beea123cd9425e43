"""What can be calibrated, and what is reported of it."""
