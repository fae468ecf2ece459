"""Any file whatever loads or ends in a NearkinError. benchmarks/fuzz.py runs the same for as long as one likes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.loaders import loaders


@pytest.mark.parametrize("name", sorted(loaders()))
def test_any_file_loads_or_is_refused(name: str) -> None:
    loader = loaders()[name]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        loader.survives(data.draw(loader.data))

    attempt()
