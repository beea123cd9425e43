"""Models of devices: what of a ``.model`` ngspice knows under the same name.

ngspice passes over a parameter that it does not know, so each is looked up here: those of SPICE2 and SPICE3, which
simulators have in common. Source: ngspice manual, sections 3.2, 7, 8, 9, 10 and 11; Nagel, SPICE2, 1975.
"""

_DIODE = "is js rs n tt cjo cj0 vj m eg xti kf af fc bv ibv ikf isr nr tnom"
_BIPOLAR = (
    "is bf nf vaf ikf ise ne br nr var ikr isc nc rb irb rbm re rc cje vje mje tf xtf vtf itf ptf cjc vjc mjc xcjc tr "
    "cjs vjs mjs xtb eg xti kf af fc tnom"
)
_FIELD = "vto beta lambda rd rs cgs cgd pb is b kf af fc tnom"
_MOS = (
    "level vto kp gamma phi lambda rd rs cbd cbs is pb cgso cgdo cgbo rsh cj mj cjsw mjsw js tox nsub nss nfs tpg xj "
    "ld uo ucrit uexp utra vmax neff xqc kf af fc delta theta eta kappa tnom"
)
PARAMETERS: dict[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "d": _DIODE, "npn": _BIPOLAR, "pnp": _BIPOLAR, "njf": _FIELD, "pjf": _FIELD, "nmos": _MOS, "pmos": _MOS,
        "sw": "vt vh ron roff", "csw": "it ih ron roff",
    }.items()
}  # fmt: skip
"""Parameters by type."""
MOS_LEVELS = (1, 2, 3)
"""Levels of MOS models that are the same everywhere."""
