"""What jobs find done, for they are forks of a process that imports this: the library's netlists are translated.

A page's own modules ask ngspice for the parameters of their netlists as they are imported.
"""

from contextlib import suppress

from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.verilog_a.choice import COMPILED
from bruno_spice.calibration.workbench import fecap, neuron, rram
from bruno_spice.devices.errors import BrunoError

for netlist in (fecap.FECAP_NETLIST, neuron.NEURON_NETLIST, rram.RRAM_NETLIST):
    for modules_of in COMPILED.values():
        with suppress(BrunoError):  # the job will say it
            modules_of(Netlist.load(netlist))
