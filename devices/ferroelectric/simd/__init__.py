"""Kernels for blocks of neurons, in single-precision SIMD."""
