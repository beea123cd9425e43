"""ngspice: netlists read and edited, decks run, results kept."""
