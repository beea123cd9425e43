"""Where the calibrated cards lie, that ``calibrated`` means wherever a card is asked for."""

from pathlib import Path

from bruno_spice.devices.files import ROOT

CALIBRATED = Path("data/calibrated")


def calibrated_card(model: str) -> Path:
    """The calibrated card of `model`: below the working folder, else beside the package."""
    here = CALIBRATED / f"{model}.json"
    return here if here.is_file() else ROOT / here
