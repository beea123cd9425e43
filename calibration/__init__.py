"""From netlist to card: running ngspice, experiments, fits, validation, figures and the report."""

if __name__ == "calibration":  # found in the working folder: a second copy of every class
    raise ModuleNotFoundError("the import package is bruno_spice; import bruno_spice.calibration", name=__name__)
