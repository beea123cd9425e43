"""Verilog-A: netlists written as modules, compiled by OpenVAF, run in VACASK; models of others, checked."""
