"""One endpoint over a tiny signed release for the tests of a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from served_process import Running, running
from signed_site import Site, signed_site


@pytest.fixture(scope="module")
def lasting_site(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    """A site for all tests of a file."""
    return signed_site(make_package, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def release(lasting_site: Site) -> Path:
    """Its first release: one box of score 0.9 in any picture."""
    return lasting_site.release(1, score=0.9)


@pytest.fixture(scope="module")
def endpoint(lasting_site: Site, release: Path) -> Iterator[Running]:
    """What answers with it."""
    with running(lasting_site, release) as found:
        yield found
