"""Commands of training, one file a group; `bruno_spice.cli` puts them together."""
