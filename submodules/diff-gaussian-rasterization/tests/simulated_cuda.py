"""Runs code for CUDA on a machine without a GPU: torch's device simulated, the kernels executed on the host.

    python -m pytest -p simulated_cuda -m gpu ...          as a plugin of pytest (this folder on PYTHONPATH)
    python simulated_cuda.py train.py --device cuda ...    a script with its arguments

The kernels take seconds where a GPU takes milliseconds: tiny scenes only. CUDA_EMULATION_CACHE is where the compiled backend is
kept (a folder of the system's temporary ones).
"""

import os
import runpy
import sys
import tempfile
from pathlib import Path

import emulated_extension
from simulated_device import simulated_cuda

CACHE = Path(os.environ.get("CUDA_EMULATION_CACHE", Path(tempfile.gettempdir()) / "diff_gaussian_emulation"))

sys.path.insert(0, str(emulated_extension.build(CACHE)))
device = simulated_cuda()
device.__enter__()

if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
