"""Commands of simulation and calibration, one file a group; `bruno_spice.cli` puts them together."""
