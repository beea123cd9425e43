"""The formats of measured files: one module each, which holds a `Reader` (`calibration.measured.READERS`)."""
