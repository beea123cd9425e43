"""Verilog-A models of others: read, and checked for what OpenVAF does not take or takes otherwise."""
