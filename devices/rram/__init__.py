"""The RRAM filament: SET, RESET, reads."""
