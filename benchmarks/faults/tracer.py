"""Trace, kill or fail the system calls of a function that change or sync files: ptrace, by way of ctypes alone.

Linux on x86-64 and aarch64. The function runs in a forked child, which asks to be traced when it is prepared and
stops at its end, so that only the stretch between is seen. Nothing has to be installed for it::

    def prepare():
        butler = Butler(outputs=root)           # not traced
        return lambda: butler.put(obj, "calib", visit=1)

    trace = run(prepare, within=[root])
    for call in trace.calls:
        print(call)
    run(prepare, within=[root], decide=kill_before(7))
    run(prepare, within=[root], decide=fail(7, errno.ENOSPC))
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pickle
import platform
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

# Of what kind a call is: it changes what a file holds, which names there are, or what is said of a file; it makes
# these last; it locks; it opens a file that is there for writing.
WRITE, NAME, ATTRIBUTE, SYNC, LOCK, OPEN = "write", "name", "attribute", "sync", "lock", "open"
CHANGING = frozenset({WRITE, NAME, ATTRIBUTE})
_PATIENCE = 120.0
"""Seconds."""
ALL = CHANGING | {SYNC, LOCK, OPEN}

# Arguments: d folder of the next path, p path, f open file, s text, n number, o flags of open, x mode, _ not told.
_CALLS: dict[str, tuple[str, str]] = {
    "open": (NAME, "pox"),
    "openat": (NAME, "dpox"),
    "creat": (NAME, "px"),
    "rename": (NAME, "pp"),
    "renameat": (NAME, "dpdp"),
    "renameat2": (NAME, "dpdpn"),
    "link": (NAME, "pp"),
    "linkat": (NAME, "dpdpn"),
    "symlink": (NAME, "sp"),
    "symlinkat": (NAME, "sdp"),
    "unlink": (NAME, "p"),
    "unlinkat": (NAME, "dpn"),
    "mkdir": (NAME, "px"),
    "mkdirat": (NAME, "dpx"),
    "rmdir": (NAME, "p"),
    "mknod": (NAME, "px"),
    "mknodat": (NAME, "dpx"),
    "write": (WRITE, "f_n"),
    "pwrite64": (WRITE, "f_nn"),
    "writev": (WRITE, "f_n"),
    "pwritev": (WRITE, "f_nn"),
    "pwritev2": (WRITE, "f_nn"),
    "ftruncate": (WRITE, "fn"),
    "truncate": (WRITE, "pn"),
    "fallocate": (WRITE, "fnnn"),
    "sendfile": (WRITE, "ff_n"),
    "copy_file_range": (WRITE, "f_f_n"),
    "ioctl": (WRITE, "fn"),
    "chmod": (ATTRIBUTE, "px"),
    "fchmod": (ATTRIBUTE, "fx"),
    "fchmodat": (ATTRIBUTE, "dpx"),
    "chown": (ATTRIBUTE, "pnn"),
    "fchown": (ATTRIBUTE, "fnn"),
    "fchownat": (ATTRIBUTE, "dpnn"),
    "utimensat": (ATTRIBUTE, "dp"),
    "setxattr": (ATTRIBUTE, "ps"),
    "fsetxattr": (ATTRIBUTE, "fs"),
    "fsync": (SYNC, "f"),
    "fdatasync": (SYNC, "f"),
    "sync_file_range": (SYNC, "fnn"),
    "msync": (SYNC, "_n"),
    "syncfs": (SYNC, "f"),
    "sync": (SYNC, ""),
    "flock": (LOCK, "fn"),
    "fcntl": (LOCK, "fn"),
}

_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "open": 2, "openat": 257, "creat": 85, "rename": 82, "renameat": 264, "renameat2": 316, "link": 86,
        "linkat": 265, "symlink": 88, "symlinkat": 266, "unlink": 87, "unlinkat": 263, "mkdir": 83, "mkdirat": 258,
        "rmdir": 84, "mknod": 133, "mknodat": 259, "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296,
        "pwritev2": 328, "ftruncate": 77, "truncate": 76, "fallocate": 285, "sendfile": 40, "copy_file_range": 326,
        "ioctl": 16, "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "fchownat": 260,
        "utimensat": 280, "setxattr": 188, "fsetxattr": 190, "fsync": 74, "fdatasync": 75, "sync_file_range": 277,
        "msync": 26, "syncfs": 306, "sync": 162, "flock": 73, "fcntl": 72,
    },
    "aarch64": {
        "openat": 56, "renameat": 38, "renameat2": 276, "linkat": 37, "symlinkat": 36, "unlinkat": 35, "mkdirat": 34,
        "mknodat": 33, "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "ftruncate": 46,
        "truncate": 45, "fallocate": 47, "sendfile": 71, "copy_file_range": 285, "ioctl": 29, "fchmod": 52,
        "fchmodat": 53, "fchown": 55, "fchownat": 54, "utimensat": 88, "setxattr": 5, "fsetxattr": 7, "fsync": 82,
        "fdatasync": 83, "sync_file_range": 84, "msync": 227, "syncfs": 267, "sync": 81, "flock": 32, "fcntl": 25,
    },
}  # fmt: skip
_NAMES = {number: name for name, number in _NUMBERS.get(platform.machine(), {}).items()}

_CLONES = {0x40049409, 0x4020940D}  # ioctl FICLONE, FICLONERANGE
_LOCKS = {6, 7, 37, 38}  # fcntl F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_AT_FDCWD = -100
_WALL, _NO_OTHERS = 0x40000000, 0x20000000

_TRACEME, _POKEUSER, _CONT, _DETACH, _SYSCALL, _SETOPTIONS = 0, 6, 7, 17, 24, 0x4200
_GETEVENTMSG = 0x4201
_GETREGSET, _SETREGSET, _GET_SYSCALL_INFO = 0x4204, 0x4205, 0x420E
# System calls are told from signals; threads and forked children are traced, too; all die with the tracer.
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x100000
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
_ENTRY, _EXIT = 1, 2
_TGKILL = {"x86_64": 234, "aarch64": 131}

_libc = ctypes.CDLL(None, use_errno=True)


class _Info(ctypes.Structure):
    _fields_ = [
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),  # At the exit this is the result.
        ("arguments", ctypes.c_uint64 * 6),
        ("rest", ctypes.c_uint64),
    ]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@dataclass(slots=True)
class Call:
    """One system call of those that are counted.

    Attributes
    ----------
    number : int
        Counted from 1.
    kind : str
        ``write``, ``name``, ``attribute``, ``sync``, ``lock`` or ``open``.
    paths : tuple of str
        The files that it is about, in the order of its arguments.
    values : tuple
        Its other arguments.
    result : int or None
        What it returned, minus the error's number if it failed; None if it never came to that.
    injected : bool
        The error is the tracer's, and the call was not carried out.
    """

    number: int
    name: str
    kind: str
    paths: tuple[str, ...]
    values: tuple[int | str, ...]
    thread: int
    result: int | None = None
    injected: bool = False

    @property
    def path(self) -> str:
        """The file that is made, changed or synced: the last one named."""
        return self.paths[-1] if self.paths else ""

    def __str__(self) -> str:
        said = ", ".join([*self.paths, *map(str, self.values)])
        result = "?" if self.result is None else str(self.result)
        if self.result is not None and self.result < 0:
            result = errno.errorcode.get(-self.result, result) + (" (injected)" if self.injected else "")
        return f"{self.name}({said}) = {result}"


@dataclass(slots=True)
class Fate:
    """What becomes of a call: it kills the child, before or after it is done; fails and is not done; or sends a signal.

    Attributes
    ----------
    error : int
        Which error it gives, 0 for none.
    signal : int
        Which signal the child gets after it, 0 for none.
    """

    kill: bool = False
    after: bool = False
    error: int = 0
    signal: int = 0


@dataclass(slots=True)
class Trace:
    """What a traced child did.

    Attributes
    ----------
    result : object
        What the function returned, if it came to its end.
    error : tuple or None
        What it raised: the names of the class and its bases, the message, and the traceback as text.
    threads : int
        How many threads and processes were traced.
    """

    calls: list[Call] = field(default_factory=list)
    result: Any = None
    error: tuple[tuple[str, ...], str, str] | None = None
    killed: bool = False
    threads: int = 1


Decide = Callable[[Call], Fate | None]


def kill_before(number: int) -> Decide:
    """Kill the child when it is about to do the n-th call, which is not carried out."""
    return lambda call: Fate(kill=True) if call.number == number else None


def kill_after(number: int) -> Decide:
    """Kill the child right after the n-th call."""
    return lambda call: Fate(kill=True, after=True) if call.number == number else None


def interrupt_after(number: int) -> Decide:
    """Send the child what Ctrl-C sends, right after the n-th call."""
    return lambda call: Fate(signal=signal.SIGINT) if call.number == number else None


def fail(number: int, error: int, *, onwards: Iterable[str] = ()) -> Decide:
    """Let the n-th call fail, and each later one of the kinds `onwards`: a disk that is full stays full."""
    lasting = frozenset(onwards)

    def decide(call: Call) -> Fate | None:
        if call.number == number or (call.number > number and call.kind in lasting):
            return Fate(error=error)
        return None

    return decide


def run(
    prepare: Callable[[], Callable[[], Any]],
    *,
    within: Iterable[str | os.PathLike[str]] = (),
    kinds: Iterable[str] = CHANGING | {SYNC},
    decide: Decide | None = None,
    watch: Callable[[Call], None] | None = None,
) -> Trace:
    """Run a function in a traced child.

    Parameters
    ----------
    prepare : callable
        Called in the child, untraced; returns the function, which takes nothing.
    within : paths
        Only calls that are about files in these folders are counted; all of them if none is given.
    kinds : iterable of str
        Which calls are counted.
    decide : callable, optional
        Called at the entry of each counted call; says what becomes of it.
    watch : callable, optional
        Called after each counted call.
    """
    problem = obstacle()
    if problem is not None:
        raise RuntimeError(problem)
    return _run(prepare, [os.path.realpath(folder) for folder in within], frozenset(kinds), decide, watch)


_checked: list[str | None] = []


def obstacle() -> str | None:
    """Return why nothing can be traced here, None if it can."""
    if not _checked:
        _checked.append(_find_obstacle())
    return _checked[0]


def _find_obstacle() -> str | None:
    if not sys.platform.startswith("linux"):
        return f"system calls are traced on Linux only, this is {sys.platform}"
    if platform.machine() not in _NUMBERS or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"system calls are traced on {' and '.join(_NUMBERS)} only, this is {platform.machine()}"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(os.path.realpath(folder), "made")
        try:
            trace = _run(lambda: lambda: os.mkdir(path), [path], CHANGING, fail(1, errno.EDQUOT), None)
        except OSError as error:
            return f"ptrace is not allowed here: {error}"
        if trace.error is None or "OSError" not in trace.error[0] or os.path.exists(path):
            return f"ptrace does not work here as it should: {trace}"
    return None


# In the child


def _in_child(prepare: Callable[[], Callable[[], Any]], pipe: int) -> None:
    told: tuple[str, Any]
    try:
        work = prepare()
    except BaseException as error:
        told = "unprepared", _described(error)
    else:
        if _libc.ptrace(_TRACEME, 0, None, None) != 0:
            os.write(pipe, pickle.dumps(("untraced", ctypes.get_errno())))
            return
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            told = "done", work()
        except BaseException as error:
            told = "raised", error
        # The tracer lets go here.
        os.kill(os.getpid(), signal.SIGSTOP)
        if told[0] == "raised":
            told = "raised", _described(told[1])
    data = memoryview(pickle.dumps(told))
    while data:
        data = data[os.write(pipe, data) :]


def _described(error: BaseException) -> tuple[tuple[str, ...], str, str]:
    import traceback

    return tuple(c.__name__ for c in type(error).__mro__), str(error), "".join(traceback.format_exception(error))


# In the tracer


def _run(
    prepare: Callable[[], Callable[[], Any]],
    within: list[str],
    kinds: frozenset[str],
    decide: Decide | None,
    watch: Callable[[Call], None] | None,
) -> Trace:
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Other threads of this process, if there are any, are none of the child's.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            _in_child(prepare, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    tracer = _Tracer(pid, within, kinds, decide, watch)
    # A child that stands still for ever is an error of this module, or what is looked for.
    late = threading.Event()
    watchdog = threading.Timer(_PATIENCE, _end_late, (pid, late))
    watchdog.daemon = True
    watchdog.start()
    try:
        tracer.follow()
        with os.fdopen(reading, "rb", closefd=False) as pipe:
            data = pipe.read()
    except BaseException:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, _WALL)
        watchdog.cancel()
        watchdog.join()
    if late.is_set():
        raise TimeoutError(f"the child did not end within {_PATIENCE} s")
    trace = tracer.trace
    if data:
        # Our own child wrote this.
        word, said = pickle.loads(data)
        if word == "untraced":
            raise OSError(said, os.strerror(said))
        if word == "unprepared":
            raise RuntimeError(f"the child could not be prepared:\n{said[2]}")
        if word == "done":
            trace.result = said
        else:
            trace.error = said
    elif not trace.killed:
        raise RuntimeError("the child ended without a word")
    return trace


def _end_late(pid: int, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class _Tracer:
    def __init__(
        self,
        pid: int,
        within: list[str],
        kinds: frozenset[str],
        decide: Decide | None,
        watch: Callable[[Call], None] | None,
    ) -> None:
        self.pid = pid
        self.trace = Trace()
        self._within = within
        self._kinds = kinds
        self._decide = decide
        self._watch = watch
        self._known = {pid}
        self._begun: set[int] = set()
        self._inside: dict[int, tuple[Call, Fate | None]] = {}

    def follow(self) -> None:
        """Follow the child from its first stop to its second one, or to its end."""
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            return
        _ptrace(_SETOPTIONS, self.pid, 0, _OPTIONS)
        self._resume(self.pid)
        while True:
            alone = len(self._known) == 1
            tid, status = os.waitpid(self.pid if alone else -1, _WALL | _NO_OTHERS)
            if not os.WIFSTOPPED(status):
                self._known.discard(tid)
                if tid == self.pid:
                    self.trace.killed = os.WIFSIGNALED(status)
                    return
                continue
            number = os.WSTOPSIG(status)
            if number == signal.SIGTRAP | 0x80:
                if self._at_call(tid):
                    return
            elif status >> 16:
                # A thread or process began.
                new = ctypes.c_ulong()
                _ptrace(_GETEVENTMSG, tid, 0, ctypes.addressof(new))
                self._add(new.value)
                self._resume(tid)
            elif number == signal.SIGSTOP and tid == self.pid:
                self._let_go()
                return
            elif number == signal.SIGSTOP and tid not in self._begun:
                # It begins so, and may do that before we hear of it otherwise.
                self._add(tid)
                self._begun.add(tid)
                self._resume(tid)
            else:
                self._resume(tid, number)

    def _add(self, tid: int) -> None:
        if tid not in self._known | self._begun:
            self._known.add(tid)
            self.trace.threads += 1

    def _resume(self, tid: int, number: int = 0) -> None:
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_SYSCALL, tid, 0, number)

    def _let_go(self) -> None:
        for tid in self._known - {self.pid}:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                self._stop_and_detach(tid)
        _ptrace(_DETACH, self.pid, 0, 0)
        # A thread that was about to end may have taken its stop for all of them.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def _stop_and_detach(self, tid: int) -> None:
        _libc.syscall(ctypes.c_long(_TGKILL[platform.machine()]), self.pid, tid, int(signal.SIGSTOP))
        while True:
            _, status = os.waitpid(tid, _WALL)
            if not os.WIFSTOPPED(status):
                return
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                _ptrace(_DETACH, tid, 0, 0)
                return
            _ptrace(_CONT, tid, 0, 0)

    def _at_call(self, tid: int) -> bool:
        """Handle the entry or the exit of a call; tell whether the child was killed."""
        info = _Info()
        _ptrace(_GET_SYSCALL_INFO, tid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == _ENTRY:
            call = self._told(tid, info)
            if call is not None:
                fate = self._decide(call) if self._decide is not None else None
                self.trace.calls.append(call)
                self._inside[tid] = call, fate
                if fate is not None and (fate.error or (fate.kill and not fate.after)):
                    _skip_call(tid)
                    if fate.kill:
                        return self._kill()
        elif info.op == _EXIT and tid in self._inside:
            call, fate = self._inside.pop(tid)
            if fate is not None and fate.error:
                _set_result(tid, -fate.error)
                call.result, call.injected = -fate.error, True
            else:
                call.result = ctypes.c_int64(info.number).value
            if self._watch is not None:
                self._watch(call)
            if fate is not None and fate.kill:
                return self._kill()
            if fate is not None and fate.signal:
                os.kill(self.pid, fate.signal)
        self._resume(tid)
        return False

    def _kill(self) -> bool:
        self.trace.killed = True
        os.kill(self.pid, signal.SIGKILL)
        return True

    # What a call is

    def _told(self, tid: int, info: _Info) -> Call | None:
        name = _NAMES.get(info.number)
        if name is None:
            return None
        kind, roles = _CALLS[name]
        given = list(info.arguments)
        if name == "ioctl" and given[1] & 0xFFFFFFFF not in _CLONES:
            return None
        if name == "fcntl" and given[1] & 0xFFFFFFFF not in _LOCKS:
            return None
        if name in ("open", "openat"):
            flags = given[roles.index("o")]
            if not flags & (os.O_CREAT | os.O_TRUNC):
                if not flags & (os.O_WRONLY | os.O_RDWR):
                    return None
                kind = OPEN
        if kind not in self._kinds:
            return None
        paths: list[str] = []
        values: list[int | str] = []
        folder = _AT_FDCWD
        for role, value in zip(roles, given, strict=False):
            number = ctypes.c_int32(value).value
            if role == "d":
                folder = number
            elif role == "p":
                paths.append(self._path(tid, folder, value))
                folder = _AT_FDCWD
            elif role == "f":
                paths.append(_opened(tid, number))
            elif role == "s":
                values.append(_text(tid, value))
            elif role == "n":
                values.append(ctypes.c_int64(value).value)
            elif role == "o":
                values.append(_flags(value))
            elif role == "x":
                values.append(oct(value & 0o7777))
        if self._within and not any(_is_in(path, folder) for path in paths for folder in self._within):
            return None
        return Call(len(self.trace.calls) + 1, name, kind, tuple(paths), tuple(values), tid)

    def _path(self, tid: int, folder: int, address: int) -> str:
        if not address:
            return _opened(tid, folder)
        text = _text(tid, address)
        if os.path.isabs(text):
            return os.path.normpath(text)
        base = os.readlink(f"/proc/{tid}/cwd") if folder == _AT_FDCWD else _opened(tid, folder)
        return os.path.normpath(os.path.join(base, text))


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _opened(tid: int, number: int) -> str:
    try:
        return os.readlink(f"/proc/{tid}/fd/{number}")
    except OSError:
        return f"<{number}>"


def _text(tid: int, address: int) -> str:
    found = b""
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
        while b"\0" not in found and len(found) < 1 << 16:
            # Not across a page, which may be the last one.
            memory.seek(address + len(found))
            found += memory.read(4096 - (address + len(found)) % 4096)
    return os.fsdecode(found.partition(b"\0")[0])


def _flags(value: int) -> str:
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    named = [name for name in ("O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND") if value & getattr(os, name)]
    return "|".join([access, *named])


def _ptrace(request: int, tid: int, address: int, data: int) -> int:
    result = _libc.ptrace(
        ctypes.c_long(request), ctypes.c_int(tid), ctypes.c_void_p(address), ctypes.c_void_p(data)
    )  # fmt: skip
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace({request}): {os.strerror(number)}")
    return int(result)


def _skip_call(tid: int) -> None:
    """Let a call that was entered not be carried out: there is no call of this number."""
    if platform.machine() == "x86_64":
        _ptrace(_POKEUSER, tid, 15 * 8, (1 << 64) - 1)
        return
    number = ctypes.c_int(-1)
    vector = _Vector(ctypes.addressof(number), ctypes.sizeof(number))
    _ptrace(_SETREGSET, tid, _NT_ARM_SYSTEM_CALL, ctypes.addressof(vector))


def _set_result(tid: int, result: int) -> None:
    if platform.machine() == "x86_64":
        _ptrace(_POKEUSER, tid, 10 * 8, result & ((1 << 64) - 1))
        return
    registers = (ctypes.c_uint64 * 34)()
    vector = _Vector(ctypes.addressof(registers), ctypes.sizeof(registers))
    _ptrace(_GETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
    registers[0] = result & ((1 << 64) - 1)
    _ptrace(_SETREGSET, tid, _NT_PRSTATUS, ctypes.addressof(vector))
