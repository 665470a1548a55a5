"""Notices a recall that arrives while a bundle is in use: `serve` runs until somebody stops it."""

from airgap.carry.verify import CheckedBundle
from airgap.carry.verify_recorded import refuse_recalled_since
from airgap.errors import RecalledError
from airgap.site import Site


class RecallWatch:
    """Checks a bundle again whenever its site has got another trust root. May be used by several threads."""

    def __init__(self, bundle: CheckedBundle, site: Site) -> None:
        self._bundle = bundle
        self._site = site
        self._checked: frozenset[str] | None = None
        self._recalled: RecalledError | None = None

    def check(self) -> None:
        """Raise `RecalledError` if the site's newest trust root recalls the bundle, and what the site raises
        if its roots cannot be read. Reads only the names of the files if no root was added.
        """
        if self._recalled is not None:  # a recall cannot be taken back
            raise self._recalled.with_traceback(None)
        names = (
            self._site.root_files()
        )  # before the roots are read: one that is added meanwhile is not missed
        if names == self._checked:
            return
        try:
            refuse_recalled_since(self._bundle, self._site)
        except RecalledError as error:
            self._recalled = error
            raise
        self._checked = names
