"""What the examples ask of a Docker engine themselves.

    python docker_images.py has|remove PREFIX

`has` prints the names that begin with PREFIX; `remove` removes these names, and images that have no
other name with them. Exit code 1 when no engine answers, and when the engine that docker would use is not on
this machine.
"""

import sys

import docker
from docker.errors import DockerException

from airgap.endpoints.docker.context import docker_address
from airgap.errors import AirgapError


def main(action: str, prefix: str) -> int:
    """Do it, on the engine that `docker` means here, and for airgap too."""
    try:
        url = docker_address().url
        if not url.startswith("unix://"):
            print(f"not on this machine: {url}", file=sys.stderr)
            return 1
        engine = docker.DockerClient(base_url=url, timeout=30)
        for image in engine.images.list():
            for name in image.tags:
                if name.startswith(prefix) and action == "has":
                    print(name)
                elif name.startswith(prefix):
                    engine.images.remove(name)
    except (AirgapError, DockerException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in {"has", "remove"}:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
