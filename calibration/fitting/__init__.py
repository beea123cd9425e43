"""Least squares, standard errors, and fits that are remembered."""
