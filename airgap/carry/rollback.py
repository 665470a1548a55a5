"""The rules for a bundle's place in its stream, given the last accepted bundle (FORMAT.md §7.1).

Rule 6, the exception for bundles that were accepted before, is applied by `receiver`, before `check_place`.
"""

from airgap.bundle.statement import Statement
from airgap.errors import RollbackError
from airgap.limits import MAX_FIRST_SERIAL, MAX_SERIAL_RISE
from airgap.site import Mark

_ASK = "two different bundles have the same place in the stream: ask the sending side which one it sealed"


def check_place(
    statement: Statement,
    sha256: str,
    mark: Mark | None,
    *,
    accept_jump: bool = False,
    older_hint: str | None = None,
) -> None:
    """Raise `RollbackError` unless the bundle is the marked one or may follow it. `mark` is the last bundle
    accepted in the stream; `accept_jump` accepts a serial however far it is above that; `older_hint` is the
    hint for a bundle that is older.
    """
    if mark is not None and sha256 == mark.statement_sha256:
        return
    if mark is not None:
        _refuse_older(statement, sha256, mark, older_hint)
    _refuse_fork(statement, mark)
    if not accept_jump:
        _refuse_jump(statement, mark)


def left_fork(statement: Statement, mark: Mark | None) -> str | None:
    """Return a warning if the bundle begins a new epoch and its sender did not seal the bundle that this site
    accepted last in the earlier epoch; else None. Such an epoch is begun to get rid of that bundle.
    """
    before = statement.previous
    if mark is None or before is None or mark.epoch >= statement.epoch or statement.serial > 1:
        return None
    if before.serial != mark.serial or before.statement_sha256 == mark.statement_sha256:
        return None
    return (
        f"{statement.stream}-{mark.serial:04d} of epoch {mark.epoch}, which was accepted here (statement "
        f"sha256:{mark.statement_sha256}), is not the bundle that the sending side sealed "
        f"(sha256:{before.statement_sha256}): find out what it installed"
    )


def is_older(statement: Statement, mark: Mark | None) -> bool:
    """Return whether the bundle is older than the last accepted one."""
    return mark is not None and (statement.epoch, statement.serial) < (mark.epoch, mark.serial)


def _refuse_older(statement: Statement, sha256: str, mark: Mark, hint: str | None) -> None:
    if is_older(statement, mark):
        raise RollbackError(
            "older than the last accepted bundle",
            subject=statement.title,
            want=f"serial {mark.serial} again, or a later one, in epoch {mark.epoch}",
            got=f"serial {statement.serial} in epoch {statement.epoch}",
            hint=hint
            or "to go back, pack the old manifest and lock again on the sending side, with a new serial; "
            "to check only the bytes, use `airgap verify --media`; if a stolen key has used up the serials, "
            "start them again with `airgap trust epoch` on the sending side",
        )
    if (statement.epoch, statement.serial) == (mark.epoch, mark.serial):
        raise RollbackError(
            f"there are two different bundles {statement.title}",
            want=f"statement sha256:{mark.statement_sha256}",
            got=f"sha256:{sha256}",
            hint=_ASK,
        )


def _refuse_fork(statement: Statement, mark: Mark | None) -> None:
    """Refuse a bundle whose `previous` is not the bundle that was accepted here with that serial."""
    before, serial = statement.previous, statement.serial
    if before is not None and serial > 1 and before.serial != serial - 1:
        raise RollbackError(
            "the serial does not follow that of the previous bundle", subject=statement.title,
            want=f"previous serial {serial - 1}", got=before.serial,
        )  # fmt: skip
    if before is None or mark is None or (mark.epoch, mark.serial + 1) != (statement.epoch, serial):
        return
    if before.statement_sha256 != mark.statement_sha256:
        raise RollbackError(
            "forked: the bundle does not follow the last accepted one",
            subject=statement.title,
            want=f"a bundle that follows {statement.stream}-{mark.serial:04d} with statement "
            f"sha256:{mark.statement_sha256}",
            got=f"sha256:{before.statement_sha256}",
            hint=f"{_ASK}; if it sealed this one, a key was misused: use `airgap trust revoke` and "
            "`airgap trust epoch` on the sending side",
        )


def _refuse_jump(statement: Statement, mark: Mark | None) -> None:
    most = MAX_FIRST_SERIAL
    if mark is not None:
        most = MAX_SERIAL_RISE + (mark.serial if mark.epoch == statement.epoch else 0)
    if statement.serial > most:
        raise RollbackError(
            "the serial is too high",
            subject=statement.title,
            want=f"at most {most}, after {mark.serial} in epoch {mark.epoch}" if mark else f"at most {most}",
            got=statement.serial,
            hint="once it is accepted, every lower serial is refused: ask the sending side whether this "
            "serial is right, then use --accept-jump",
        )
