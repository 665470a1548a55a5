"""A bundle's place in its stream, against what this site has accepted there (FORMAT.md §7.1). Rules only."""

from airgap.bundle.statement import Statement
from airgap.errors import RollbackError
from airgap.site import Mark

MAX_RISE = 1_000
"""How far a serial may be above the one that was accepted last."""
MAX_FIRST = 1_000_000
"""The highest serial of the first bundle of a stream that a site accepts."""

_ASK = "two different bundles claim one place in the stream: ask the sending side which of them is theirs"


def check_place(statement: Statement, sha256: str, mark: Mark | None, *, accept_jump: bool = False) -> None:
    """Raise `RollbackError` unless the bundle is the marked one, or may come after it. `mark` is the last
    one accepted in the stream; `accept_jump` lets a serial rise as far as it will.
    """
    if mark is not None and sha256 == mark.statement_sha256:
        return
    if mark is not None:
        _refuse_older(statement, sha256, mark)
    _refuse_fork(statement, mark)
    if not accept_jump:
        _refuse_jump(statement, mark)


def left_fork(statement: Statement, mark: Mark | None) -> str | None:
    """What to tell people of a bundle that begins a new epoch, and whose sender did not seal what this site
    accepted last in the earlier one: the epoch was raised to leave that behind.
    """
    before = statement.previous
    if mark is None or before is None or mark.epoch >= statement.epoch or statement.serial > 1:
        return None
    if before.serial != mark.serial or before.statement_sha256 == mark.statement_sha256:
        return None
    return (
        f"{statement.stream}-{mark.serial:04d} of epoch {mark.epoch}, which was accepted here (statement "
        f"sha256:{mark.statement_sha256}), is not the one that the sending side sealed "
        f"(sha256:{before.statement_sha256}): find out what it brought"
    )


def _refuse_older(statement: Statement, sha256: str, mark: Mark) -> None:
    place, accepted = (statement.epoch, statement.serial), (mark.epoch, mark.serial)
    if place < accepted:
        raise RollbackError(
            "older than what was accepted here",
            subject=statement.title,
            want=f"serial {mark.serial} again, or a later one, in epoch {mark.epoch}",
            got=f"serial {statement.serial} in epoch {statement.epoch}",
            hint="to go back, pack the old manifest and lock again on the sending side, for a new serial; "
            "`airgap verify --media` still checks the bytes of this bundle; where a stolen key has used up "
            "the serials, `airgap trust epoch` there lets them start again",
        )
    if place == accepted:
        raise RollbackError(
            "another bundle with this serial was accepted here before (equivocation)",
            subject=statement.title,
            want=f"statement sha256:{mark.statement_sha256}",
            got=f"sha256:{sha256}",
            hint=_ASK,
        )


def _refuse_fork(statement: Statement, mark: Mark | None) -> None:
    """`previous` names the bundle before, and that is the one which was accepted here, if it was."""
    before, serial = statement.previous, statement.serial
    if before is not None and serial > 1 and before.serial != serial - 1:
        raise RollbackError(
            "does not follow the bundle that it names as the one before it", subject=statement.title,
            want=f"serial {serial - 1} as the one before", got=before.serial,
        )  # fmt: skip
    if before is None or mark is None or (mark.epoch, mark.serial + 1) != (statement.epoch, serial):
        return
    if before.statement_sha256 != mark.statement_sha256:
        raise RollbackError(
            "forked: it does not follow the bundle that was accepted here",
            subject=statement.title,
            want=f"one that follows {statement.stream}-{mark.serial:04d} with statement "
            f"sha256:{mark.statement_sha256}",
            got=f"sha256:{before.statement_sha256}",
            hint=f"{_ASK}; if this one is, a key was misused: `airgap trust revoke` and `airgap trust epoch` "
            "there",
        )


def _refuse_jump(statement: Statement, mark: Mark | None) -> None:
    most = MAX_FIRST
    if mark is not None:
        most = MAX_RISE + (mark.serial if mark.epoch == statement.epoch else 0)
    if statement.serial > most:
        raise RollbackError(
            "the serial rises too far",
            subject=statement.title,
            want=f"at most {most}, after {mark.serial} in epoch {mark.epoch}" if mark else f"at most {most}",
            got=statement.serial,
            hint="once it is accepted, all below it is refused: ask the sending side whether this is their "
            "serial; if it is, --accept-jump takes it",
        )
