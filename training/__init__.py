"""Networks of calibrated devices in torch: neurons, synapses, gradients, tasks and the training loop."""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Large tensors of torch in huge pages: a tape of a million neurons else costs a page fault every 4 KiB, at each step.

if __name__ == "training":  # found in the working folder: a second copy of every class
    raise ModuleNotFoundError("the import package is bruno_spice; import bruno_spice.training", name=__name__)
