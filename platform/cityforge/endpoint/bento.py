"""`bentoml` as this machine runs it: a killed front is back in a second, a stopped one finishes.

    python -m cityforge.endpoint.bento serve FOLDER --port 3000

BentoML lets circus look after its processes every 10 seconds, and kill them 30 seconds after it
has asked them to end; it has no setting for either.
"""

from __future__ import annotations

from typing import Any

LOOK_EVERY_S = 1.0
# An endpoint that is stopped takes nothing new and finishes what it has for so long: more than
# pictures may take (`limits.REQUEST_S`). A clip that needs longer is answered 503 then.
FINISH_S = 60
KILLED_AFTER_S = 90.0  # FINISH_S and `running.PATIENCE_S`, and a little


def look_often() -> None:
    """Have circus look after processes every second, and let them finish, whoever starts it."""
    from circus.arbiter import Arbiter  # type: ignore[import-untyped]

    begin = Arbiter.__init__

    def begin_often(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **{**options, "check_delay": LOOK_EVERY_S})
        for watcher in self.watchers:
            watcher.graceful_timeout = KILLED_AFTER_S

    Arbiter.__init__ = begin_often


def main() -> None:
    """Do as `bentoml` does."""
    from bentoml_cli.cli import cli

    look_often()
    cli(default_map={"serve": {"timeout_graceful_shutdown": FINISH_S}})


if __name__ == "__main__":
    main()
