"""A trained network back in SPICE."""
