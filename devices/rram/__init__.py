"""Resistive cells: the filament with its SET, RESET and reads, and the cell that is known by measurement."""
