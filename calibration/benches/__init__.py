"""The probe station in SPICE: what an engineer does to a capacitor, a neuron or a cell."""
