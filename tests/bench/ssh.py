"""`airgap send` to OpenSSH servers on loopback, beside stock `sftp` and `scp`.

The peers only copy. airgap also syncs each file and has the host hash it. So the peers are measured once more
with `sha256sum` of all files on the host after the copy, and a sync. To twenty hosts the whole bundle goes to
each.
"""

from collections.abc import Callable
from functools import partial

from tests.bench.lab import Contender, Lab, Table
from tests.bench.pulls import script
from tests.bench.world import World
from tests.support.sshd import USER, Sshd

HOSTS = 20
SEND, SFTP, SCP = "**airgap send** (checked, synced, checked there)", "`sftp`", "`scp`"
CHECKED = ", then `sha256sum -c` and `sync`"
SCPS = f"`scp`, {HOSTS} in parallel"
_COLUMNS = ("CPU s", "server CPU s", "RSS MB")
ONE = Table("send", "1 GB over SSH to one host", (SFTP, SCP), _COLUMNS)
MANY = Table("send-many", f"1 GB over SSH to each of {HOSTS} hosts", (SCPS,), _COLUMNS)
_MANY_ROUNDS = 2
"""Each writes 20 GB."""


def contenders(world: World) -> list[Contender]:
    copies = {SFTP: _sftp, SCP: _scp}
    one = [Contender(ONE, SEND, partial(_send, ONE, 1), ours=True)]
    for row, argv in copies.items():
        one.append(Contender(ONE, row, partial(_copy, row, argv, checked=False)))
        one.append(Contender(ONE, row + CHECKED, partial(_copy, row + CHECKED, argv, checked=True)))
    many = [
        Contender(MANY, SEND, partial(_send, MANY, HOSTS), rounds=_MANY_ROUNDS, warm=False, ours=True),
        Contender(MANY, SCPS, _copy_to_many, rounds=_MANY_ROUNDS, warm=False),
    ]
    return [*one, *many]


def _send(table: Table, count: int, lab: Lab) -> None:
    world, hosts = lab.world, lab.world.hosts
    bundle, servers = world.large, hosts.take(count)
    with world.scratch() as folder:
        home = world.fresh_site(world.packed_by("large"), folder)
        options = ("--identity", hosts.key, "--known-hosts", hosts.known, "--ssh-config", "/dev/null")
        addresses = [server.address for server in servers]
        words = ("send", bundle, *addresses, "--to", "arrived", "--jobs", str(count), *options)
        lab.airgap(SEND, home, *words, daemon=hosts.daemon)
    hosts.take(0)


def _copy(row: str, argv: Callable[[World, Sshd], list[str]], lab: Lab, *, checked: bool) -> None:
    world = lab.world
    [server] = world.hosts.take(1)
    commands = [argv(world, server)]
    if checked:
        check = f"cd arrived/{world.large.name} && sha256sum --quiet -c SHA256SUMS && sync -f ."
        commands.append(
            world.hosts.command(
                "ssh", "-p", str(server.port), f"{USER}@127.0.0.1", f"cd {server.home} && {check}"
            )
        )
    lab.measure(row, script(commands), daemon=world.hosts.daemon)


def _sftp(world: World, server: Sshd) -> list[str]:
    batch = world.folder / "sftp-batch"
    batch.write_text(f"put -R {world.large} arrived/\n")
    words = ("-P", str(server.port), "-b", str(batch), f"{USER}@127.0.0.1")
    return world.hosts.command("sftp", *words)


def _scp(world: World, server: Sshd) -> list[str]:
    to = f"{USER}@127.0.0.1:{server.home}/arrived/"
    return world.hosts.command("scp", "-r", "-P", str(server.port), str(world.large), to)


def _copy_to_many(lab: Lab) -> None:
    servers = lab.world.hosts.take(HOSTS)
    copies = [script([_scp(lab.world, server)]) for server in servers]
    lines = lab.world.folder / "copies"
    lines.write_text("\0".join(copy[-1] for copy in copies))
    command = ["xargs", "-0", "-a", lines, "-P", str(HOSTS), "-I", "{}", "sh", "-ec", "{}"]
    lab.measure(SCPS, command, daemon=lab.world.hosts.daemon)
    lab.world.hosts.take(0)
