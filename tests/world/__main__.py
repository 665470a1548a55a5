"""Writes `docs/compatibility.md`: python -m tests.world."""

from tests.world.page import PAGE, page

PAGE.parent.mkdir(exist_ok=True)
PAGE.write_text(page(), encoding="utf-8")
print(f"written: {PAGE.name}")
