"""Where a registry lies: on a disk of this machine, or on a file system that several machines may share.

The log in which SQLite writes ahead is shared through memory, which two machines have not in common. On a file system
of the network a registry has a rollback journal instead, and everybody waits for locks.
"""

from __future__ import annotations

import os
import re

MOUNTS = "/proc/self/mountinfo"
"""What Linux tells of mounted file systems."""

NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre",
        "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf",
        "virtiofs", "vmhgfs", "wekafs",
    }
)  # fmt: skip
"""Types of file systems that several machines, or a virtual one and its host, may share."""

_LOCAL_FUSE = frozenset({"fuse.encfs", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.ntfs-3g", "fuseblk"})
_ESCAPED = re.compile(r"\\([0-7]{3})")


def network_type(folder: str) -> str | None:
    """Return the type of the network file system that a folder is on, None if it is on none, or nobody knows."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return None
    type_ = mounted_type(text, os.path.realpath(folder))
    return type_ if type_ is not None and is_network(type_) else None


def is_network(type_: str) -> bool:
    """Tell whether several machines may share a file system of a type.

    Examples
    --------
    >>> is_network("nfs4"), is_network("fuse.sshfs"), is_network("ext4")
    (True, True, False)
    """
    return type_ in NETWORK or (type_.startswith("fuse") and type_ not in _LOCAL_FUSE)


def mounted_type(text: str, path: str) -> str | None:
    r"""Return the type of the file system that an absolute path is on.

    Parameters
    ----------
    text : str
        In the form of ``/proc/self/mountinfo``.

    Examples
    --------
    >>> text = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n35 21 0:40 /x /data\\040a rw shared:1 - nfs4 server:/x rw\n"
    >>> mounted_type(text, "/data a/run"), mounted_type(text, "/data")
    ('nfs4', 'ext4')
    """
    longest, found = -1, None
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if not separator or len(fields) < 5 or not types[0]:
            continue
        place = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # What is mounted over another comes later.
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= longest:
            longest, found = len(place), types[0]
    return found
