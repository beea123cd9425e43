"""From netlist to card: running ngspice, experiments, fits, validation, figures and the report."""
