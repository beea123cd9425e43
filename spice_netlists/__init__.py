"""Plain ngspice files: models, circuits and testbenches."""
