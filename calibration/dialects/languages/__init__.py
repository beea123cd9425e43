"""The languages of other simulators: one module each, and what those of SPICE have in common."""
