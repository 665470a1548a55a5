"""How the world behaves: registries, archives, engines and hosts, a row each, replayed.

Each row names who behaves so, where that was reported, and what airgap must answer; the test that it
decorates replays it. `python -m tests.world` writes the rows and the matrices of the end-to-end tests to
`docs/compatibility.md`, and `test_page.py` fails when the page is out of date.
"""
