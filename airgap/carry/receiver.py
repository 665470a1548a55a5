"""The verifying site, and whether a bundle is for it, now (FORMAT.md §7, step 7)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

from airgap.bundle.statement import Statement
from airgap.carry.recalled import FindLoaded, LoadedName, check_recalled
from airgap.carry.rollback import check_place, is_older
from airgap.errors import DestinationError, ExpiredError, RollbackError, TrustError
from airgap.site import Mark
from airgap.times import format_time
from airgap.trust.root import SignedRoot, TrustRoot
from airgap.values import dataclass


def _keep_none(_: SignedRoot) -> None:
    """Keep no root: for commands that only read."""


def _accepted_none(_: Statement, __: str) -> bool:
    """Know no bundle that was accepted before: for a reader without memory."""
    return False


def _needed_always(_: Statement) -> bool:
    """Take every older bundle that was accepted before: a newer one is beside it."""
    return True


def _loaded_none(_: str) -> Sequence[LoadedName]:
    """Return nothing: a reader without memory does not know what was loaded."""
    return ()


class OlderRule(StrEnum):
    """What to do with a bundle that is older than the last accepted one (FORMAT.md §7.1, rule 6)."""

    REFUSE = "refuse"
    CONTENT = "content"
    """Take it if its very statement was accepted before, for its content only."""
    BACK = "back"
    """Take only a bundle whose very statement was accepted before, even if it has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """The verifying site: its name, its trust root, and what it has accepted before."""

    site: str
    root: SignedRoot
    mark: Callable[[str], Mark | None]
    """Returns the high-water mark of a stream."""
    now: datetime
    sender: str = ""
    """The name of the sender whose state this is; empty if there is only one."""
    senders: tuple[str, ...] = ()
    """The names of all senders that this site knows, if there are several."""
    partly: bool = False
    """Accept fewer signatures than the threshold: to inspect a bundle, or to add a signature."""
    accept_jump: bool = False
    """Accept a serial however far it is above the last accepted one."""
    older: OlderRule = OlderRule.REFUSE
    accepted: Callable[[Statement, str], bool] = _accepted_none
    """Returns whether this site accepted the very statement, with this SHA-256, before."""
    needed: Callable[[Statement], bool] = _needed_always
    """Returns whether a newer bundle needs content of an older one; asked only for `OlderRule.CONTENT`."""
    find_loaded: FindLoaded = _loaded_none
    """Returns what this site loaded of a statement; asked only for a recalled one."""
    recalled_too: bool = False
    """Whether a recalled bundle is accepted: only to compare it with another one, never to pass it on."""
    keep: Callable[[SignedRoot], None] = _keep_none
    """Called with each trust root that follows from the installed one, as soon as it is verified."""


def check_root_named(statement: Statement, root: TrustRoot) -> None:
    """Refuse a bundle of another epoch: it could bring back serials and keys that the new epoch has ended."""
    if statement.root_version > root.version:
        raise TrustError(
            "made under a newer trust root than this site has",
            subject=statement.title,
            want=f"at most version {root.version}",
            got=f"version {statement.root_version}",
            hint="install the newer root with `airgap trust install`",
        )
    if statement.epoch != root.epoch:
        raise RollbackError(
            "made in another epoch", subject=statement.title, want=f"epoch {root.epoch}", got=statement.epoch
        )


def check_receiver(
    statement: Statement, sha256: str, root: TrustRoot, receiver: Receiver, mark: Mark | None
) -> None:
    """Do step 7, except revocations, for a statement that is signed under `root`."""
    check_recalled(statement, sha256, root, receiver.find_loaded)
    check_root_named(statement, root)
    subject = statement.title
    if statement.destinations and receiver.site not in statement.destinations:
        want = ", ".join(statement.destinations)
        raise DestinationError(
            "the bundle is for another site",
            subject=subject,
            want=want,
            got=receiver.site,
            hint=f"the sending side adds {receiver.site} to `destinations:` and packs again; if the name of "
            f"this site is wrong and it has loaded nothing yet, `airgap trust install BUNDLE --site "
            f"{statement.destinations[0]}` corrects it",
        )
    if receiver.now < statement.not_before:
        raise ExpiredError(
            "the bundle is not valid yet",
            subject=subject,
            want=f"not before {format_time(statement.not_before)}",
            got=format_time(receiver.now),
            hint="check this machine's clock",
        )
    _check_age(statement, sha256, receiver, mark)


def _check_age(statement: Statement, sha256: str, receiver: Receiver, mark: Mark | None) -> None:
    """Check the expiry and the place in the stream (FORMAT.md §7.1)."""
    hint = None
    expired, older = receiver.now >= statement.expires, is_older(statement, mark)
    if receiver.older is OlderRule.BACK or expired or older:
        accepted = receiver.accepted(statement, sha256)
        if receiver.older is OlderRule.BACK:
            if not accepted:
                raise _not_accepted(statement)
            return
        hint = (EXPIRED_HINT if expired else BACK_HINT) if accepted else None
        is_content = receiver.older is OlderRule.CONTENT and older and not expired
        if is_content and accepted and receiver.needed(statement):
            return
    if expired:
        raise ExpiredError(
            "the bundle has expired",
            subject=statement.title,
            want=f"before {format_time(statement.expires)}",
            got=format_time(receiver.now),
            hint=hint or "ask the sending side for a new bundle; if this machine's clock is wrong, set it",
        )
    check_place(statement, sha256, mark, accept_jump=receiver.accept_jump, older_hint=hint)


BACK_HINT = (
    "it was accepted here before: to load it on purpose, with its names, use "
    "`airgap load --back BUNDLE --reason TEXT`; as the base of a newer one, name both in one command"
)
EXPIRED_HINT = (
    "it was accepted here before: `airgap load --back BUNDLE --reason TEXT` loads it on purpose; load a "
    "newer bundle that needs it afterwards, in a command of its own"
)


def _not_accepted(statement: Statement) -> RollbackError:
    return RollbackError(
        "not accepted here before",
        subject=statement.title,
        want="a bundle whose statement is in the ledger and in received/",
        hint="--back only returns to what was accepted here; load a newer bundle without --back, or ask the "
        "sending side for a full one (airgap pack --full)",
    )
