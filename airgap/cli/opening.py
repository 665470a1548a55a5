"""Opens this site for a command, after comparing its files with its ledger."""

from pathlib import Path
from typing import TYPE_CHECKING

from airgap.cli import console
from airgap.errors import printable

if TYPE_CHECKING:
    from airgap.site_check import CheckedSite


def compare_site(*, recording: bool = True, roots: bool = True) -> Path:
    """Do the same as `open_site` for a command that may also run without a site. Return the home folder."""
    from airgap.durable import exists
    from airgap.site import default_home

    home = default_home()
    if exists(home / "site.json", follow=False):
        open_site(recording=recording, roots=roots)
    return home


def open_site(*, recording: bool = True, reporting: bool = False, roots: bool = True) -> "CheckedSite":
    """Return the site and the time to use; alarms are written to stderr. See `check_site`."""
    from airgap import site
    from airgap.site_check import check_site

    home, recording = site.default_home(), recording and not reporting
    checked = check_site(home, site.now(), recording=recording, reporting=reporting, roots=roots)
    for text in checked.alarms:
        console.say(printable(f"alarm: {text}") + "\n")
    return checked
