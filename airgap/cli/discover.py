"""Find the images that deployment files run, and write them as a manifest.

Reads Compose files, Kubernetes YAML, kustomizations, Helm charts, lists of images, and manifests of Hauler
and Zarf. What a file is is recognised from its content; `-` is standard input. In the manifest, each image
has a comment: the file, the line, and how sure it is. An image is `sure`, `derived` (from a variable or a
value) or a `guess` (a text that looks like an image). Guesses, and images that do not run by default, are
commented out.

What cannot be read or resolved is reported with its line; everything else is still written, and the exit
code is 3. With --check, nothing is written; if the files run images that the manifest does not carry, the
exit code is 22.

With --rewrite, no manifest is written, but copies of the Compose files and the Kubernetes YAML, in which each
image has its name and digest of the offline side, from the lock of the manifest. Nothing else is changed.

Examples:
  airgap discover compose.yaml -o stack.yaml
  helm template ./chart | airgap discover - -o stack.yaml
  airgap discover --check stack.yaml deploy/
  airgap discover compose.yaml --rewrite offline --lock stack.lock.yaml
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console
from airgap.cli.options import TableOutput
from airgap.cli.rewritten import Request, Rewriter
from airgap.cli.tables import Table
from airgap.errors import NoMatchError, NotCarriedError, PartialError, UsageError, printable
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.discover.compare import Comparison
    from airgap.discover.context import Choices
    from airgap.discover.findings import DiscoveredImage, Discovery, Problem
    from airgap.oci.platform import Platform

_MAX_SHOWN = 200
"""Problems that are shown."""

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH", help="Files and folders; `-` is standard input.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The manifest to write.")]
Check = Annotated[
    Path | None,
    typer.Option(metavar="MANIFEST", help="Write nothing; fail if this manifest lacks an image."),
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="The stream in the manifest (default: the folder's name).")
]
PlatformTexts = Annotated[
    list[str] | None,
    typer.Option("--platform", metavar="OS/ARCH", help="A platform in the manifest; may be repeated."),
]
Guesses = Annotated[bool, typer.Option("--guesses", help="Take guesses as images too.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a manifest that was edited.")]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder that included files must be in (default: the repository, the current folder or "
        "the folder of PATH).",
    ),
]
Profile = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="An active Compose profile; may be repeated.")
]
AllProfiles = Annotated[bool, typer.Option("--all-profiles", help="Take all Compose profiles as active.")]
EnvFile = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Variables for Compose, instead of `.env`; may be repeated."),
]
Var = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A variable for Compose or Zarf; may be repeated."),
]
Environment = Annotated[
    bool, typer.Option("--environment", help="Use the variables of this process for Compose too.")
]
Values = Annotated[
    list[Path] | None,
    typer.Option("--values", metavar="FILE", help="Values for a Helm chart; may be repeated."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A value for a Helm chart; may be repeated."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the files are read."""

    root: Root = None
    profile: Profile = None
    all_profiles: AllProfiles = False
    env_file: EnvFile = None
    var: Var = None
    environment: Environment = False
    values: Values = None
    set: Set = None

    def choices(self) -> "Choices":
        """Return these options as the readers take them. Raises `UsageError` for a variable without `=`."""
        from airgap.discover.context import Choices

        return Choices(
            profiles=["*"] if self.all_profiles else self.profile or (),
            env_files=self.env_file or (),
            variables={**(os.environ if self.environment else {}), **_variables(self.var or ())},
            values_files=self.values or (),
            values=self.set or (),
        )


def run(
    paths: Paths,
    out: Out = None,
    check: Check = None,
    name: Name = None,
    platform: PlatformTexts = None,
    guesses: Guesses = False,
    force: Force = False,
    *,
    reading: Reading,
    rewriter: Rewriter,
    output: TableOutput,
) -> None:
    from airgap.discover.discover import discover

    request = rewriter.request()
    if request and (check or out or name or platform):
        want = "--rewrite without --out, --check, --name, --platform"
        raise UsageError("--rewrite writes no manifest", want=want)
    if check and (out or force or name or platform):
        raise UsageError("--check writes nothing", want="--check without --out, --name, --platform, --force")
    platforms = _platforms(platform or ())
    discovery = discover(paths, reading.choices(), root=reading.root, standard_input=_standard_input(paths))
    if check:
        _show_check(discovery, check, output, guesses=guesses)
        return
    if request:
        _show_rewritten(discovery, request, paths, output, guesses=guesses, force=force)
        return
    written = None
    if out and discovery.images:
        written = _write(discovery, out, name or _stream(paths), platforms, guesses=guesses, force=force)
    _show(discovery, written, output, guesses=guesses)


def _standard_input(paths: Sequence[Path]) -> str | None:
    from airgap.discover.sources import STDIN, decode
    from airgap.errors import FormatError
    from airgap.limits import MAX_DEPLOYMENT_FILE_BYTES

    if STDIN not in paths:
        return None
    raw = sys.stdin.buffer.read(MAX_DEPLOYMENT_FILE_BYTES + 1)
    if len(raw) > MAX_DEPLOYMENT_FILE_BYTES:
        want = f"at most {MAX_DEPLOYMENT_FILE_BYTES:,} bytes"
        raise FormatError("too large", subject="standard input", want=want, got="more")
    return decode(raw, "standard input")


def _stream(paths: Sequence[Path]) -> str:
    from airgap.discover.manifest_text import stream_name

    return stream_name(paths[0])


def _variables(texts: Sequence[str]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := next((name for name, sign, _ in pairs if not sign or not name), None):
        raise UsageError("--var needs a name and a value", want="NAME=VALUE", got=wrong)
    return {name: value for name, _, value in pairs}


def _platforms(texts: Sequence[str]) -> "list[Platform]":
    from airgap.manifest.platform_text import parse_platform

    return [parse_platform(text) for text in texts]


def _write(
    discovery: "Discovery",
    path: Path,
    name: str,
    platforms: "Sequence[Platform]",
    *,
    guesses: bool,
    force: bool,
) -> Path:
    """Write the manifest. Raises `UsageError` if `path` has what `airgap discover` did not write."""
    from airgap.bundle.files import Folder, write_file
    from airgap.discover.manifest_text import is_unchanged, manifest_text
    from airgap.durable import exists
    from airgap.limits import MAX_YAML_BYTES
    from airgap.manifest import TransferManifest

    raw = manifest_text(discovery, name, platforms=platforms, guesses=guesses)
    if b"\nimages: []\n" not in raw:
        TransferManifest.parse(raw, path)
    if exists(path, follow=False) and not force:
        with Folder(path.absolute().parent) as folder:
            present = folder.read(path.name, MAX_YAML_BYTES)
        if not is_unchanged(present):
            want = "no file, or one that airgap discover wrote and nobody changed"
            hint = "choose another file, or overwrite it with --force"
            raise UsageError("the file exists", subject=path, want=want, hint=hint)
    write_file(path, raw)
    return path


# -- what is shown


def _show(discovery: "Discovery", written: Path | None, output: TableOutput, *, guesses: bool) -> None:
    from airgap.discover.manifest_text import carried

    value = _value(discovery) | {"manifest": str(written) if written else None}
    listed = len(carried(discovery, guesses=guesses))
    lines: list[str | Table] = [_table(discovery.images)] if discovery.images and not written else []
    lines.append(_count_line(listed, len(discovery.images) - listed))
    if written:
        lines.append(f"written: {written}")
    if not discovery.images:
        lines = []
    _finish(discovery, value, lines, output)


def _count_line(listed: int, others: int) -> str:
    more = f"; {others} more that are optional or guesses" if others else ""
    return f"{listed} image{'s' * (listed != 1)}{more}"


def _finish(
    discovery: "Discovery", value: dict[str, Any], lines: list[str | Table], output: TableOutput
) -> None:
    """Show the problems, then the result. The error is the first of: nothing found, something not read."""
    _show_problems(discovery.problems)
    count = sum(problem.severity == "problem" for problem in discovery.problems)
    if not discovery.images and not count:
        raise NoMatchError("no image was found", got=f"{len(discovery.files)} files", hint="see --help")
    hint = "the problems are listed above; the images in these places may be missing"
    error = PartialError("something could not be read or resolved", hint=hint)
    console.show_partial_result(value, lines, output, [error] if count else [])


def _show_problems(problems: "Sequence[Problem]") -> None:
    for problem in problems[:_MAX_SHOWN]:
        console.say(printable(f"{problem.severity}: {problem}") + "\n")
        if problem.hint:
            console.say(f"  hint: {printable(problem.hint)}\n")
    if len(problems) > _MAX_SHOWN:
        console.say(f"{len(problems) - _MAX_SHOWN} more; --json has all of them\n")


def _table(images: "Sequence[DiscoveredImage]") -> Table:
    rows = [
        (image.reference.familiar, _state(image), image.places[0].place, image.places[0].user)
        for image in images
    ]
    return Table(("IMAGE", "CERTAINTY", "PLACE", "USED BY"), rows)


def _state(image: "DiscoveredImage") -> str:
    return f"{image.certainty}, {image.optional}" if image.optional else str(image.certainty)


def _value(discovery: "Discovery") -> dict[str, Any]:
    return {
        "images": [_image_value(image) for image in discovery.images],
        "problems": [
            {
                "severity": str(problem.severity),
                "file": problem.place.file,
                "line": problem.place.line,
                "what": problem.text,
                "hint": problem.hint,
            }
            for problem in discovery.problems
        ],
        "files": list(discovery.files),
        "manifest": None,
        "check": None,
        "rewritten": None,
        "error": None,
    }


def _image_value(image: "DiscoveredImage") -> dict[str, Any]:
    return {
        "reference": str(image.reference),
        "certainty": str(image.certainty),
        "optional": image.optional,
        "platforms": list(map(str, image.platforms)),
        "places": [
            {
                "file": found.place.file,
                "line": found.place.line,
                "written": found.written,
                "user": found.user,
                "certainty": str(found.certainty),
                "optional": found.optional,
                "note": found.note,
            }
            for found in image.places
        ],
    }


# -- the copies


def _show_rewritten(
    discovery: "Discovery",
    request: Request,
    paths: Sequence[Path],
    output: TableOutput,
    *,
    guesses: bool,
    force: bool,
) -> None:
    found = request.rewritten(discovery, paths, guesses=guesses)
    written = request.write(found.copies, force=force)
    discovery = replace(discovery, problems=(*discovery.problems, *found.problems))
    rows = [(copy["file"], copy["copy"], copy["images"]) for copy in written]
    lines: list[str | Table] = [Table(("FILE", "COPY", "IMAGES"), rows)] if rows else []
    lines.append(f"rewritten: {request.folder} ({len(written)} file{'s' * (len(written) != 1)})")
    _finish(discovery, _value(discovery) | {"rewritten": written}, lines, output)


# -- the check


def _show_check(discovery: "Discovery", path: Path, output: TableOutput, *, guesses: bool) -> None:
    from airgap.discover.compare import compare
    from airgap.manifest import TransferManifest

    found = compare(discovery, TransferManifest.load(path), guesses=guesses)
    check = {
        "manifest": str(path),
        "missing": [str(image.reference) for image in found.missing],
        "unused": list(map(str, found.unused)),
        "partial": found.is_partial,
    }
    value = _value(discovery) | {"check": check}
    lines = _check_lines(found, path)
    if not found.missing:
        _finish(discovery, value, lines, output)
        return
    _show_problems(discovery.problems)
    error = NotCarriedError(
        "the manifest lacks images that the files run", subject=path, got=f"{len(found.missing)} missing",
        hint=f"add them to {path}, or write it again with `airgap discover --out`",
    )  # fmt: skip
    console.show_partial_result(value, lines, output, [error])


def _check_lines(found: "Comparison", path: Path) -> list[str | Table]:
    lines: list[str | Table] = [_table(found.missing)] if found.missing else []
    lines += [f"note: no file names {name}" for name in found.unused]
    if found.is_partial:
        lines.append(f"note: {path} has archives or layouts, whose images were not compared")
    if not found.missing:
        lines.append(f"{path} carries all images that the files run")
    return lines
