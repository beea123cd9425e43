"""Weights as devices give them, for torch."""
