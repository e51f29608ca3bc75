"""The compiled kernel is waited for: a test asks one path, not whichever is there first."""

from __future__ import annotations

import pytest

from dopant.quantum.kernel import loading


@pytest.fixture(autouse=True, scope="package")
def the_kernel_is_waited_for():
    loading.wait()
    yield
    loading.wait()
