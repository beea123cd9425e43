"""The FeCAP netlist fitted to a measured record."""
