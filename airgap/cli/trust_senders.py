"""The commands of `airgap trust` about the senders whose bundles this site accepts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import complete, console
from airgap.cli.options import Output, TableOutput
from airgap.cli.register import register
from airgap.cli.tables import Table
from airgap.errors import UsageError

if TYPE_CHECKING:
    from airgap.oci.name_rules import NameRule, NameRules
    from airgap.site import Site

app = typer.Typer()
"""The commands; `airgap.cli.trust` adds them to its own."""

Sender = Annotated[
    str, typer.Argument(metavar="SENDER", help="The sender's name here.", autocompletion=complete.senders)
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="PATTERN",
        help="Names that the sender may set, as in registry.vendor/*; * is all names. May be repeated.",
    ),
]


@register(app, "list")
def list_senders(*, output: TableOutput) -> None:
    """List the senders whose bundles this site accepts.

    The table shows the newest bundle of each stream that was accepted, and the names that the sender may set.

    Example: airgap trust list
    """
    from airgap.cli.opening import open_site

    values = [_value(sender) for sender in open_site(recording=False).site.each_sender() if sender.roots()]
    rows = [
        (
            value["sender_name"], value["version"], value["fingerprint"][:12], value["epoch"],
            value["expires"][:10], _streams(value["streams"]), _names(value["rules"]),
        )
        for value in values
    ]  # fmt: skip
    header = ("SENDER", "ROOT", "FINGERPRINT", "EPOCH", "UNTIL", "STREAMS", "NAMES")
    lines: list[str | Table] = [Table(header, rows)] if rows else ["no trust root is installed here"]
    console.show_result({"senders": values}, lines, output)


def _value(sender: "Site") -> dict[str, Any]:
    from airgap.site import MarkKind
    from airgap.times import format_time

    signed, settings = sender.root(), sender.settings
    marks = {stream: sender.received(stream) for stream in sender.marked(MarkKind.RECEIVED)}
    return {
        "sender_name": sender.sender_name,
        "first": not sender.sender,
        "version": signed.root.version,
        "fingerprint": signed.fingerprint,
        "epoch": signed.root.epoch,
        "expires": format_time(signed.root.expires),
        "streams": [{"stream": stream, **mark.value} for stream, mark in marks.items() if mark],
        "rules": None if settings.rules is None else settings.rules.value,
    }


def _streams(streams: list[dict[str, Any]]) -> str:
    return ", ".join(f"{item['stream']}-{item['serial']:04d}" for item in streams)


def _names(rules: list[dict[str, Any]] | None) -> str:
    if rules is None:
        return "*"
    return "; ".join(
        ", ".join(rule["names"]) + (f" at {rule['target']}" if rule["target"] else "") for rule in rules
    )


@register(app, "allow")
def allow_names(
    sender: Sender,
    names: Names = None,
    none: Annotated[
        bool, typer.Option("--none", help="Remove the rule, so that it no longer allows any name.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(metavar="TARGET", help="The target that the rule is for, as after --to; default: all."),
    ] = None,
    *,
    output: Output,
) -> None:
    """Set which names a sender's images may have.

    A name is allowed if a rule for its target or a rule for all targets has a pattern for it. This replaces
    the patterns of one rule. * matches any characters, even / and :. The names are those after --map. The
    target serve stands for what `airgap serve` offers. Until the first rule, the first sender may set every
    name.

    Example: airgap trust allow vendor --names 'registry.vendor/*'
    """
    from airgap.admin.senders import allow
    from airgap.cli.opening import compare_site
    from airgap.oci.name_rules import NameRule, check_pattern, check_target
    from airgap.site import Site

    if none == bool(names):
        raise UsageError("--names is missing", want="--names PATTERN, or --none", subject=sender)
    patterns = tuple(_checked(name, check_pattern) for name in names or ())
    rule = NameRule(patterns, None if target is None else _checked(target, check_target))
    settings = allow(Site(compare_site(roots=False)), sender, rule)
    _show(settings.name, settings.rules, output)


def _checked(text: str, check: Callable[[str], str]) -> str:
    """Return what `check` returns. Raises `UsageError` for a text that it refuses."""
    from airgap.errors import FormatError

    try:
        return check(text)
    except FormatError as error:
        raise UsageError(error.what, subject=error.subject, want=error.want, hint=error.hint) from error


def _show(name: str, rules: "NameRules | None", output: Output) -> None:
    value = {"sender_name": name, "rules": None if rules is None else rules.value}
    console.show_result(value, [f"{name} may set: {'*' if rules is None else rules}"], output)


@register(app, "remove-sender")
def remove(sender: Sender, *, output: Output) -> None:
    """Remove a sender: its bundles are refused from now on.

    Its trust roots and envelopes are deleted. The ledger keeps what was accepted from it: if the sender is
    installed again, older bundles stay refused. Images stay at the targets.

    Example: airgap trust remove-sender vendor
    """
    from airgap.admin.senders import remove_sender
    from airgap.cli.opening import compare_site
    from airgap.site import Site

    remove_sender(Site(compare_site(roots=False)), sender)
    console.show_result({"sender_name": sender}, [f"removed: {sender}"], output)


def asked_rule(names: list[str] | None, sender: str | None, *, needed: bool) -> "NameRule | None":
    """Return the rule for `airgap trust install`; None to leave the rules as they are.

    Args:
        names: The patterns that were given.
        sender: The name of the sender.
        needed: Whether to ask for the patterns on a terminal if none were given.

    Raises:
        UsageError: A text is not a pattern, or patterns were given without a sender.
    """
    import sys

    from airgap.oci.name_rules import NameRule, check_pattern

    if names and sender is None:
        raise UsageError(
            "--names needs --sender", want="the name of a sender",
            hint="for the first sender, use `airgap trust allow default --names PATTERN`",
        )  # fmt: skip
    if not names and needed and sys.stdin and sys.stdin.isatty():
        console.say("Bundles of this sender may only set the names that you allow: registry.vendor/*\n")
        names = str(typer.prompt("Names, separated by spaces (* for all)", err=True)).split()
    patterns = tuple(_checked(name, check_pattern) for name in names or ())
    return NameRule(patterns) if patterns else None
