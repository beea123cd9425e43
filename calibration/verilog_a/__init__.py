"""Verilog-A: netlists written as modules, compiled by OpenVAF, run in VACASK or by ngspice with OSDI."""
