"""Kernels for one neuron after the other, in float64."""
