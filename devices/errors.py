"""What can go wrong, as one small tree of exceptions.

Every message is one clear sentence that says what, where and what to do. The command line turns them
into exit codes: 2 where the input is at fault (`InputError`), 1 where the work failed.
"""


class BrunoError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code = 1


class InputError(BrunoError):
    """The input is at fault: a file, an option or a value that the user can mend."""

    exit_code = 2


class BusyError(BrunoError):
    """Another command writes the same folder."""


class CardError(InputError):
    """A parameter card is malformed: unknown key, wrong unit, wrong schema version, non-finite number."""


class StimulusError(InputError):
    """A stimulus or waveform file cannot be used: missing column, NaN, unsorted times."""


class EnvelopeError(InputError):
    """A request lies outside the range that a card was calibrated for."""


class ProposedCard(UserWarning):
    """A card is read that training proposes: no netlist was simulated for it and no device measured."""
