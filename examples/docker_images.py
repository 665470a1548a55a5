"""What the examples ask of a Docker engine themselves.

    python docker_images.py has|remove PREFIX

`has` prints the names that begin with PREFIX; `remove` removes these names, and images that have no
other name with them. Exit code 1 when no engine answers.
"""

import sys

import docker
from docker.errors import DockerException


def main(action: str, prefix: str) -> int:
    """Do it, on the engine that `DOCKER_HOST` names or the usual one."""
    try:
        engine = docker.from_env(timeout=30)
        for image in engine.images.list():
            for name in image.tags:
                if name.startswith(prefix) and action == "has":
                    print(name)
                elif name.startswith(prefix):
                    engine.images.remove(name)
    except DockerException as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in {"has", "remove"}:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
