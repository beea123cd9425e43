"""The words of a netlist that may go to ngspice: cards, simulator options and types of models. Source: ngspice 39."""

KEPT = {
    **{name: name for name in (
        ".param", ".func", ".model", ".subckt", ".ends", ".ic", ".nodeset", ".options", ".tran", ".global", ".temp",
        ".if", ".elseif", ".else", ".endif",
    )},
    ".params": ".param", ".parameter": ".param", ".parameters": ".param", ".option": ".options", ".opt": ".options",
    ".macro": ".subckt", ".eom": ".ends",
}  # fmt: skip
"""Cards that describe a circuit, by the word that they are written with."""
LEFT_OUT = (
    ".save", ".print", ".plot", ".probe", ".meas", ".measure", ".four", ".fourier", ".width", ".title", ".end",
    ".backanno", ".prot", ".unprot", ".protect", ".unprotect", ".csparam", ".op", ".ac", ".dc", ".noise", ".disto",
    ".pz", ".sens", ".tf", ".sp", ".pss",
)  # fmt: skip
"""Cards for runs by hand: what they ask for is not what an experiment brings back."""
MODELS = frozenset((
    "r", "res", "c", "cap", "l", "ind", "sw", "csw", "vswitch", "iswitch", "d", "npn", "pnp", "lpnp", "njf",
    "pjf", "nmf", "pmf", "nhfet", "phfet", "nmos", "pmos", "vdmos", "vdmosn", "vdmosp", "nsoi", "psoi", "urc",
    "ltra", "txl", "cpl", "gain", "summer", "mult", "divide", "limit", "climit", "ilimit", "pwl", "pwlts",
    "multi_input_pwl", "aswitch", "pswitch", "hyst", "slew", "int", "d_dt", "delay", "s_xfer", "sine",
    "triangle", "square", "oneshot", "core", "lcouple", "cmeter", "lmeter", "inductoc", "capacitoric",
    "inductor", "capacitor", "memristor", "potentiometer", "sidiode", "zener", "adc_bridge", "dac_bridge",
    "bidi_bridge", "d_and", "d_buffer", "d_dff", "d_dlatch", "d_fdiv", "d_genlut", "d_inverter", "d_jkff",
    "d_lut", "d_nand", "d_nor", "d_open_c", "d_open_e", "d_or", "d_osc", "d_pulldown", "d_pullup", "d_pwm",
    "d_ram", "d_srff", "d_srlatch", "d_tff", "d_tristate", "d_xnor", "d_xor", "d_to_real", "real_delay",
    "real_gain", "real_to_v", "spice2poly",
))  # fmt: skip
"""Types of models that compute and do no more; filesource, d_source, d_state and the tables read files."""
OPTIONS = frozenset((
    "abstol", "reltol", "vntol", "chgtol", "trtol", "gmin", "pivtol", "pivrel", "itl1", "itl2", "itl3", "itl4",
    "itl5", "itl6", "gminsteps", "srcsteps", "gminfactor", "dyngmin", "gshunt", "maxord", "method", "xmu",
    "temp", "tnom", "rshunt", "cshunt", "rseries", "noopiter", "noopalter", "noopac", "interp", "ramptime",
    "convlimit", "convstep", "convabsstep", "bypass", "minbreak", "maxevtiter", "maxopalter", "defl", "defw",
    "defad", "defas", "defm", "scale", "scalm", "badmos3", "trytocompact", "oldlimit", "seed", "klu", "sparse",
    "limpts", "limtim", "lvltim",
))  # fmt: skip
"""Options that act on the simulation."""
OPTIONS_LEFT_OUT = frozenset((
    "acct", "noacct", "list", "node", "nodes", "opts", "nopage", "nomod", "noinit", "norefvalue", "numdgt",
    "cptime", "keepopinfo", "savecurrents", "autostop", "post", "probe", "ingold", "brief", "accurate",
    "plotwinsize", "measdgt", "co", "warn", "maxwarns",
))  # fmt: skip
"""Options of printing and saving."""
FUNCTIONS = frozenset((
    "sqr", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh",
    "arctan", "exp", "ln", "log", "log10", "abs", "sgn", "pow", "pwr", "max", "min", "int", "nint", "floor", "ceil",
    "ternary_fcn", "gauss", "agauss", "unif", "aunif", "limit", "v", "mod", "div",
))  # fmt: skip
"""Names that an expression takes for functions."""
RANDOM = ("gauss", "agauss", "unif", "aunif", "limit", "trnoise", "trrandom")
"""Functions and sources that draw at random, anew in each run of ngspice 39; ``limit`` gives one of its two ends."""
