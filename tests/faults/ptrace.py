"""Faults at the kernel's own door: the N-th system call of a class, below a folder, fails, is cut short, or
is the last thing that the process does.

The child asks the kernel (seccomp) to stop it at the calls of one class; this process (ptrace) looks at each,
with the path that it is about, counts those below the folder over all threads, and changes one. Unlike
`strace -e inject`, which counts for each thread and takes whole paths only, the count is the process's, a
folder is enough, and a short write is a true one: the kernel is handed a smaller count, and says so.

x86-64 only.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FD, _PATH, _AT, _TWO, _TWO_AT = "fd", "path", "at", "two paths", "two paths at"
"""How a call says what it is about."""

CALLS = {
    "open": {2: _PATH, 85: _PATH, 257: _AT, 437: _AT},
    "write": {1: _FD, 20: _FD, 40: _FD, 326: _FD},
    "pwrite": {18: _FD, 296: _FD, 328: _FD},
    "fsync": {74: _FD, 75: _FD},
    "rename": {82: _TWO, 264: _TWO_AT, 316: _TWO_AT},
    "mkdir": {83: _PATH, 258: _AT},
    "close": {3: _FD},
    "unlink": {84: _PATH, 87: _PATH, 263: _AT},
    "truncate": {76: _PATH, 77: _FD, 285: _FD},
    "read": {0: _FD, 17: _FD, 19: _FD, 295: _FD, 327: _FD},
    "list": {217: _FD},
    "stat": {4: _PATH, 6: _PATH, 5: _FD, 262: _AT, 332: _AT},
    "lock": {73: _FD},
}
"""Numbers of the calls of each class (arch/x86/entry/syscalls/syscall_64.tbl)."""

READING = {"open": "open to read", "close": "close after reading"}
"""These are classes of their own: `open` and `close` are those of files that may be written."""
CALLS |= {reading: CALLS[kind] for kind, reading in READING.items()}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_OPENAT2 = 437

_COPY_FILE_RANGE = 326

_TRACEME, _CONT, _SYSCALL = 0, 7, 24
_GETREGS, _SETREGS, _SETOPTIONS = 12, 13, 0x4200
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000  # fork, vfork, clone, seccomp, exitkill
_EVENT_SECCOMP = 7
_WALL = 0x40000000
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class _Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in [
            "r15",
            "r14",
            "r13",
            "r12",
            "rbp",
            "rbx",
            "r11",
            "r10",
            "r9",
            "r8",
            "rax",
            "rcx",
            "rdx",
            "rsi",
            "rdi",
            "orig_rax",
            "rip",
            "cs",
            "eflags",
            "rsp",
            "ss",
            "fs_base",
            "gs_base",
            "ds",
            "es",
            "fs",
            "gs",
        ]
    ]


@dataclass(frozen=True)
class Fault:
    """What happens to the `nth` call (from 1) of the classes below the folder, and with `on` to all later ones."""

    classes: tuple[str, ...]
    what: str
    """`ENOSPC`, `EIO`, … in place of the call; `short`: a write takes about half; `lost`: a write says that it
    is done, and is not; `kill`: the process ends before the call, `kill after`: right after it.
    """
    nth: int
    on: bool = False

    def __str__(self) -> str:
        return f"{'+'.join(self.classes)} {self.what} at call {self.nth}{' and later' if self.on else ''}"


@dataclass
class Outcome:
    """How a traced process ended."""

    code: int = 0
    """Exit code, or minus the signal."""
    calls: list[str] = field(default_factory=list)
    """What was called below the folder: class, and path."""
    hits: list[str] = field(default_factory=list)
    """The calls that were changed."""


def supported() -> bool:
    """Whether this machine's calls are the ones that are known here."""
    return platform.machine() == "x86_64" and platform.system() == "Linux"


def trace(
    run: Callable[[], int],
    folder: Path,
    classes: Sequence[str],
    fault: Fault | None = None,
    avoid: Sequence[Path] = (),
) -> Outcome:
    """Run `run` in a fork of this process and see its calls of `classes` below `folder`, but not below
    `avoid`; with a fault in one of them.
    """
    numbers = {number: how for kind in classes for number, how in CALLS[kind].items()}
    child = os.fork()
    if not child:
        code = 70
        try:
            _libc.ptrace(_TRACEME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            stop_at(numbers)
            code = run()
        finally:
            os._exit(code)
    return _Tracer(child, str(folder), tuple(map(str, avoid)), classes, numbers, fault).follow()


def stop_at(numbers: Iterable[int]) -> None:
    """Have the kernel stop this process, and whatever it starts, at these calls (seccomp(2), BPF)."""
    load = struct.pack("=HBBI", 0x20, 0, 0, 0)  # the call's number
    compare = [struct.pack("=HBBI", 0x15, 0, 1, number) for number in numbers]
    trace_it = struct.pack("=HBBI", 0x06, 0, 0, _TRACE)
    program = load + b"".join(each + trace_it for each in compare) + struct.pack("=HBBI", 0x06, 0, 0, _ALLOW)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    if _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp")


class _Tracer:
    """Follows a child and its threads to the end."""

    def __init__(
        self,
        child: int,
        folder: str,
        avoid: tuple[str, ...],
        classes: Sequence[str],
        numbers: dict[int, str],
        fault: Fault | None,
    ) -> None:
        self.child = child
        self.folder = folder
        self.avoid = avoid
        self.classes = classes
        self.numbers = numbers
        self.fault = fault
        self.outcome = Outcome()
        self.count = 0
        self.after: dict[int, int | None] = {}
        """Threads in a call that is changed when it returns: what it shall return; None: kill."""

    def follow(self) -> Outcome:
        os.waitpid(self.child, 0)
        self._ask(_SETOPTIONS, self.child, None, _OPTIONS)
        self._ask(_CONT, self.child)
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._stopped(thread, status)
            elif thread == self.child:
                self.outcome.code = os.waitstatus_to_exitcode(status)
                return self.outcome

    def _stopped(self, thread: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_SECCOMP:
            self._called(thread)
        elif event:
            self._ask(_CONT, thread)
        elif number == signal.SIGTRAP and thread in self.after:
            self._returned(thread)
        else:
            # a new thread begins with SIGSTOP, which is not for it
            self._ask(_CONT, thread, None, 0 if number in (signal.SIGSTOP, signal.SIGTRAP) else number)

    def _called(self, thread: int) -> None:
        registers = _Registers()
        if not self._ask(_GETREGS, thread, None, ctypes.addressof(registers)):
            return
        how = self.numbers[registers.orig_rax]
        paths = [path for path in _paths(thread, how, registers) if self._is_ours(path)]
        kind = self._kind(thread, registers) if paths else ""
        if kind not in self.classes:
            self._ask(_CONT, thread)
            return
        call = f"{kind} {paths[-1].removeprefix(self.folder)}"
        self.outcome.calls.append(call)
        self.count += 1
        fault = self.fault
        if fault is None or self.count < fault.nth or (self.count > fault.nth and not fault.on):
            self._ask(_CONT, thread)
            return
        self.outcome.hits.append(call)
        self._change(thread, registers, kind, fault.what)

    def _kind(self, thread: int, registers: _Registers) -> str:
        number = registers.orig_rax
        kind = next(kind for kind, numbers in CALLS.items() if number in numbers)
        if kind == "open":
            flags = {257: registers.rdx, 2: registers.rsi}.get(number, _WRITES)
            return kind if flags & _WRITES else READING[kind]
        if kind == "close":
            return kind if _fd_flags(thread, registers.rdi) & _WRITES else READING[kind]
        return kind

    def _is_ours(self, path: str) -> bool:
        return _below(path, self.folder) and not any(_below(path, each) for each in self.avoid)

    def _change(self, thread: int, registers: _Registers, kind: str, what: str) -> None:
        if what == "kill":
            os.kill(self.child, signal.SIGKILL)
            return
        if what == "kill after":
            self._at_return(thread, None)
            return
        if what == "short":
            count = "r8" if registers.orig_rax == _COPY_FILE_RANGE else "rdx"
            size = getattr(registers, count)
            if size < 2:  # it cannot be cut
                self.outcome.hits.pop()
                self.count -= 1
            setattr(registers, count, (size + 1) // 2)
            self._ask(_SETREGS, thread, None, ctypes.addressof(registers))
            self._ask(_CONT, thread)
            return
        code = registers.rdx if what == "lost" else -getattr(errno, what)
        if kind.startswith("close"):  # closed all the same, as close(2) has it
            self._at_return(thread, code)
            return
        registers.orig_rax = ctypes.c_ulonglong(-1).value
        registers.rax = ctypes.c_ulonglong(code).value
        self._ask(_SETREGS, thread, None, ctypes.addressof(registers))
        self._ask(_CONT, thread)

    def _at_return(self, thread: int, code: int | None) -> None:
        self.after[thread] = code
        self._ask(_SYSCALL, thread)

    def _returned(self, thread: int) -> None:
        code = self.after.pop(thread)
        if code is None:
            os.kill(self.child, signal.SIGKILL)
            return
        registers = _Registers()
        self._ask(_GETREGS, thread, None, ctypes.addressof(registers))
        registers.rax = ctypes.c_ulonglong(code).value
        self._ask(_SETREGS, thread, None, ctypes.addressof(registers))
        self._ask(_CONT, thread)

    def _ask(self, request: int, thread: int, address: int | None = None, data: int | None = None) -> bool:
        """False for a thread that has ended meanwhile."""
        if _libc.ptrace(request, thread, address, data) == 0:
            return True
        if ctypes.get_errno() == errno.ESRCH:
            return False
        raise OSError(ctypes.get_errno(), f"ptrace request {request}")


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _paths(thread: int, how: str, registers: _Registers) -> Iterator[str]:
    """The absolute paths that a call is about; for files that are open, where they are now."""
    if how == _FD:
        yield _of_fd(thread, registers.rdi)
    elif how == _PATH:
        yield _joined(thread, None, registers.rdi)
    elif how == _AT:
        yield _joined(thread, registers.rdi, registers.rsi)
    elif how == _TWO:
        yield from (_joined(thread, None, registers.rdi), _joined(thread, None, registers.rsi))
    else:
        yield _joined(thread, registers.rdi, registers.rsi)
        yield _joined(thread, registers.rdx, registers.r10)


def _of_fd(thread: int, fd: int) -> str:
    try:
        return str(Path(f"/proc/{thread}/fd/{ctypes.c_int(fd & 0xFFFFFFFF).value}").readlink()).removesuffix(
            " (deleted)"
        )
    except OSError:
        return ""


def _fd_flags(thread: int, fd: int) -> int:
    try:
        text = Path(f"/proc/{thread}/fdinfo/{fd}").read_text()
    except OSError:
        return 0
    return int(text.split("flags:")[1].split()[0], 8)


def _joined(thread: int, folder: int | None, address: int) -> str:
    text = _text(thread, address)
    if text.startswith("/"):
        return os.path.normpath(text)
    if folder is None or ctypes.c_int(folder & 0xFFFFFFFF).value < 0:
        return os.path.normpath(f"{Path(f'/proc/{thread}/cwd').readlink()}/{text}")
    return os.path.normpath(f"{_of_fd(thread, folder)}/{text}")


def _text(thread: int, address: int) -> str:
    if not address:
        return ""
    out = b""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        while b"\0" not in out and len(out) < 4096:
            # not over the end of a page: what is behind it may not be there
            piece = memory.read(min(256, 4096 - (address + len(out)) % 4096))
            if not piece:
                break
            out += piece
    return os.fsdecode(out.partition(b"\0")[0])
