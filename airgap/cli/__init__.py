"""The command line: one module a command, each parsing, calling one use-case, and rendering its result.

Nothing here is imported before it is used: `airgap --help` loads typer and no more.
"""
