import pytest
from diff_gaussian_rasterization import _C


@pytest.fixture(params=_C.instruction_sets())
def instruction_set(request):
    """Each instruction set of this processor in turn."""
    before = _C.instruction_set()
    _C.use_instruction_set(request.param)
    yield request.param
    _C.use_instruction_set(before)
