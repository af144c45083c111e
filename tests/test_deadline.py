import time

import pytest

from components.shared.deadline import within
from components.shared.errors import CannotRun


def test_what_the_work_returns_or_raises_is_handed_on():
    assert within(5, lambda: 7, what="x") == 7
    assert within(5, lambda: None, what="x") is None
    with pytest.raises(KeyError, match="k"):
        within(5, lambda: {}["k"], what="x")


def test_work_that_does_not_end_is_left_behind():
    with pytest.raises(CannotRun, match=r"the server: no answer within 0\.2 seconds"):
        within(0.2, lambda: time.sleep(30), what="the server")
