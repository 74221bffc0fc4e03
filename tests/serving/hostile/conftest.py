"""One endpoint that all of it is thrown at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "load"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from sent_pictures import refuse_another_answer
from served_process import Running, running
from signed_site import signed_site


@pytest.fixture(scope="module")
def endpoint(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """An endpoint whose processes are the same afterwards, and no larger than they may be."""
    site = signed_site(make_package, tmp_path_factory.mktemp("site"))
    with running(site, site.release(1)) as found:
        refuse_another_answer(found.address)
        before, early = {each.pid for each in found.family()}, found.rss()
        yield found
        refuse_another_answer(found.address)
        assert {each.pid for each in found.family()} == before, "a process ended"
        # A picture of the largest size allowed takes 300 MB while it is decoded.
        assert found.rss() < early + 500e6
