"""The far side of a sending: an SFTP server whose calls are refused, cut short, or the last ones.

sshd starts this file for a session; what to do, and where to tell what was done, is in a file of orders.
"""

import json
import os
import sys
from pathlib import Path

from tests.faults.ptrace import Fault, trace

SERVER = "/usr/lib/openssh/sftp-server"


def main(orders: Path) -> int:
    """Serve one session over stdin and stdout, as OpenSSH's own server does, with the fault in it."""
    order = json.loads(orders.read_text())
    fault = (
        Fault(tuple(order["classes"]), order["what"], order["nth"], order["on"]) if order["what"] else None
    )

    def serve() -> int:
        os.execv(SERVER, [SERVER, "-d", order["home"]])

    outcome = trace(serve, Path(order["folder"]), order["classes"], fault)
    done = orders.with_name("done.json")
    done.with_suffix(".part").write_text(json.dumps({"calls": outcome.calls, "hits": outcome.hits}))
    done.with_suffix(".part").rename(done)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
