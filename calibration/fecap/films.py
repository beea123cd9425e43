"""A fit as it is asked for, and what it leaves in a folder: the same for `bruno fit fecap` and for the workbench.

Records and settings in, the fitted film with its predictions out; then ``fecap.param``, ``fecap.json``, the figures.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bruno_spice.calibration.fecap.figures import fecap_figure, records_figure
from bruno_spice.calibration.fecap.fit import FeCAPFit, fit_fecap
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.predict import Prediction, predict, used_at_turns
from bruno_spice.calibration.fecap.problem import AfterEvaluation, Part
from bruno_spice.calibration.fecap.result import param_include, result_json
from bruno_spice.calibration.presentation.style import save
from bruno_spice.calibration.spice.farm import Farm, version_of
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic


@dataclass(frozen=True, eq=False)
class Asked:
    """The first `fitted` of the records are fitted, the others predicted; `names` are what a reader calls them.

    `shared` is known of the film, `by_record` of each record alone, both by the netlist's parameter. The rest is as
    `fit_fecap` takes it.
    """

    measured: Sequence[FeCAPMeasurement]
    names: Sequence[str]
    fitted: int
    shared: Mapping[str, float] = field(default_factory=dict)
    by_record: Sequence[Mapping[str, float]] = ()
    free: Sequence[str] | None = None
    keep_flagged: bool = False
    own_names: Sequence[str] = ()
    terms: Sequence[str] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    own_at_turns: bool = False
    """Of a predicted record, `own_names` are fitted to its samples behind turning points alone."""

    @property
    def known(self) -> dict[str, float]:
        """The thickness that the files state. Raises `InputError` where they state several."""
        stated = {each.known["tfe"] for each in self.measured if "tfe" in each.known}
        if "tfe" in self.shared or not stated:
            return {}
        if len(stated) > 1:
            listed = ", ".join(f"{value:.4g}" for value in sorted(stated))
            raise InputError(
                f"the files say thicknesses of {listed} m: records of one film have one; say it: --set tfe=10n"
            )
        return {"tfe": stated.pop()}

    @property
    def own(self) -> list[dict[str, float]]:
        """What each record has of its own: what its file states of it, and what was set by hand."""
        by_hand = [*self.by_record, *({} for _ in self.measured[len(self.by_record) :])]
        return [
            {n: v for n, v in each.known.items() if n in ("tempk", "area") and n not in self.shared} | dict(mine)
            for each, mine in zip(self.measured, by_hand, strict=True)
        ]


def fit_films(asked: Asked, farm: Farm | None, progress: AfterEvaluation | None) -> FeCAPFit:
    """The film of the fitted records. Raises `InputError`, also where the others cannot be predicted as asked."""
    known, own, count = asked.known, asked.own, asked.fitted
    if asked.own_at_turns:
        for each in asked.measured[count:]:
            used_at_turns(Part.of(each, {}))
    return fit_fecap(
        asked.measured[:count],
        known | dict(asked.shared),
        asked.free,
        asked.keep_flagged,
        farm,
        progress,
        own=own[:count],
        own_names=asked.own_names,
        terms=asked.terms,
        bounds=asked.bounds,
    )


def predict_films(asked: Asked, found: FeCAPFit, farm: Farm | None) -> list[tuple[str, Prediction]]:
    """The records that are not fitted, predicted by the film that was `found`, each with its name."""
    count = asked.fitted
    seen = predict(found, asked.measured[count:], asked.own[count:], farm, asked.own_at_turns)
    return list(zip(asked.names[count:], seen, strict=True))


def write_films(
    out: Path, found: FeCAPFit, names: Sequence[str], seen: Sequence[tuple[str, Prediction]], simulator: str
) -> list[Path]:
    """Write what `fit_films` found of the records called `names`, and predicted of the `seen`, into the folder `out`.

    The paths, figures last.
    """
    count = len(names)
    write_atomic(out / "fecap.param", param_include(found, ", ".join(names)))
    content = result_json(found, names, seen) | {"simulator": version_of(simulator)}
    write_atomic(out / "fecap.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    mark = "NOT TO BE BELIEVED, " if found.doubt else ""
    title = f"{mark}{names[0] if count == 1 else f'{count} records'}: rms {100 * found.rms_of_span:.2f} % of the span"
    figure = fecap_figure(found.only, title) if count == 1 else records_figure(found.records, names, "fitted", title)
    save(figure, out / "fecap.png")
    wrote = [out / "fecap.param", out / "fecap.json", out / "fecap.png"]
    if seen:
        title = f"predicted by the film of {names[0] if count == 1 else f'{count} records'}"
        unseen = [name for name, _ in seen]
        save(records_figure([each.record for _, each in seen], unseen, "predicted", title), out / "prediction.png")
        wrote.append(out / "prediction.png")
    return wrote
