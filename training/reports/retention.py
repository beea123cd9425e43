"""What a run's report says of time: scores against the age of the devices, and which levels hold how long."""

from collections.abc import Mapping

from bruno_spice.calibration.presentation.page import Section, Table
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.units import format_duration
from bruno_spice.training.runs.folder import RunFolder, read_object, whole
from bruno_spice.training.runs.retention import retention_table

ANALYSES = {"retention": "evaluate", "codesign": "codesign"}
"""By the name of their file and picture, the command that writes them."""


def is_stale(folder: RunFolder, name: str) -> bool:
    """Whether the analysis ``NAME.json`` in `folder` is of other weights than the run has now."""
    path = folder.path / f"{name}.json"
    if name not in ANALYSES or not path.is_file():
        return False
    of = read_object(path, f"bruno {ANALYSES[name]} {folder.path}").get("weights_sha256", [])
    return folder.weights_sha256() not in (of if isinstance(of, list) else [of])


def retention_sections(folder: RunFolder, cards: Mapping[str, Card]) -> list[Section]:
    """What was scored with ``--after``, where that was done, and what the cards say of their levels."""
    tables, text = [], []
    if folder.retention.is_file():
        command = f"bruno evaluate {folder.path} --after 0,1s,1h,1d"
        found = read_object(folder.retention, command)
        if is_stale(folder, "retention"):
            text.append(f"what was scored over time is of an earlier training; {command} renews it")
        else:
            with whole(folder.retention, command):
                tables.append(Table("Test score against the time since writing", *retention_table(found)))
                text.append(str(found["said"]))
    for card in cards.values():
        if card.misread:
            rows = [
                [
                    format_duration(time_s) if time_s else "0",
                    f"{100 * share:.3g} %",
                    "–" if worst is None else f"{100 * worst:.3g} %",
                ]
                for time_s, share, worst in card.misread
            ]
            tables.append(
                Table(
                    f"{card.MODEL} card: devices read as another level",
                    ["time since writing", "of all", "of the worst level"],
                    rows,
                )
            )
            text += card.unknown
    said = ". ".join(each[:1].upper() + each[1:] for each in text if each)
    return [Section("Time since writing", f"{said}." if said else "", tables=tables)] if tables or text else []
