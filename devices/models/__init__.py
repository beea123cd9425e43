"""Neuron models: their laws, spelled once, and their parameters, declared once."""
