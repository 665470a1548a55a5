"""The command line. The module of a command parses the options, calls one use case and shows the result.

Modules are imported only when they are used: `airgap --help` loads typer and little else.
"""
