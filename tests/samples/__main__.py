"""Writes the table of docs/discovery.md again: `python -m tests.samples`."""

from tests.samples.table import PAGE, results, table, write_table

PAGE.write_text(write_table(PAGE.read_text("utf-8"), table(results())), "utf-8")
