"""Verifying, beside what two cores can hash; and the start of commands, beside a bare Python."""

import sys
from functools import partial
from pathlib import Path

from tests.bench.lab import Contender, Lab, Table
from tests.bench.world import World

VERIFY, CEILING = "**airgap verify**", "SHA-256 in two threads, nothing else"
SHA256SUM = "`sha256sum -c`"
VERIFIED = Table("verify", "all files of a bundle checked", (CEILING,), ("GB/s", "CPU s", "RSS MB"))

PYTHON = "`python -c pass`"
HELP, LOG = "airgap `--help`", "airgap `audit log`"
INSPECT, VERIFY_SMALL = "airgap `inspect`, 2 MB", "airgap `verify`, 2 MB"
STARTED = Table("start", "start of a command", (PYTHON,))
_STARTS = 5
"""How often a command starts in a turn, as it takes so little time."""


def verify(world: World) -> list[Contender]:
    return [
        Contender(VERIFIED, CEILING, _ceiling),
        Contender(VERIFIED, SHA256SUM, _sha256sum),
        Contender(VERIFIED, VERIFY, _verify, ours=True),
    ]


def start(world: World) -> list[Contender]:
    return [
        Contender(STARTED, PYTHON, _python),
        *(
            Contender(STARTED, row, partial(_start, row), ours=True)
            for row in (HELP, LOG, INSPECT, VERIFY_SMALL)
        ),
    ]


def _ceiling(lab: Lab) -> None:
    bundle = lab.world.bundle
    argv = [sys.executable, "-m", "tests.bench.ceiling", bundle / "SHA256SUMS"]
    lab.measure(CEILING, argv, result=bundle)


def _sha256sum(lab: Lab) -> None:
    command = 'cd "$1" && exec sha256sum -c --quiet SHA256SUMS'
    bundle = lab.world.bundle
    lab.measure(SHA256SUM, ["sh", "-c", command, "sh", bundle], result=bundle)


def _verify(lab: Lab) -> None:
    world = lab.world
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[1], folder)
        lab.airgap(VERIFY, home, "verify", world.bundle, result=world.bundle)


def _python(lab: Lab) -> None:
    for _ in range(_STARTS):
        lab.measure(PYTHON, [sys.executable, "-c", "pass"], small=True)


def _start(row: str, lab: Lab) -> None:
    world = lab.world
    words: dict[str, tuple[str | Path, ...]] = {
        HELP: ("--help",),
        LOG: ("audit", "log"),
        INSPECT: ("inspect", world.small),
        VERIFY_SMALL: ("verify", world.small),
    }
    with world.scratch() as folder:
        site = world.packed_by("small") if row == LOG else world.sites[1]
        home = world.fresh_site(site, folder)
        for _ in range(_STARTS):
            lab.airgap(row, home, *words[row], small=True)
