"""Layers of spiking neurons for torch."""
