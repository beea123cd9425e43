"""The RRAM cell's card: fit, levels and figures."""
