"""Every notebook's tests, run against the exported package instead of the notebook's own export cells.

`test_notebooks.py` runs the definitions in the notebooks; what people install are the modules in `marl_nb/`. A notebook
of module `core.x` is run here in the names of `marl_nb.core.x`, without the cells that are exported. This takes as long
as the notebooks themselves, so `make soak` does it; what `make test` does in its place is in `test_modules.py`.
"""

import pytest
from notebook_runner import run
from test_modules import MODULES

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("module", MODULES)
def test_exported(module):
    if error := run(MODULES[module], module):
        pytest.fail(error, pytrace=False)
