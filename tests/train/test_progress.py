"""The bar says how far training is, the loss, and the time left."""

from __future__ import annotations

import re

import pytest

from nearkin.train.progress import step_bar


def test_steps_loss_and_time_left_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with step_bar("vicreg s0", 10, 4, images=32) as update:
        update(7, 0.25)
    out, err = capsys.readouterr()
    assert out == "" and "vicreg s0" in err
    assert re.search(r"7/10 loss 0\.250 (-|\d+) images/s \d:\d\d:\d\d left (\d|-):(\d|-)", err)


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with step_bar("vicreg s0", 10, 0, images=32, enabled=False) as update:
        update(1, 1.0)
    assert capsys.readouterr() == ("", "")
