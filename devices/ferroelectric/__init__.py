"""Ferroelectric neurons: their equations, once for each kind of machine."""
