"""Experiments with the trainer, which no user of the package imports."""
