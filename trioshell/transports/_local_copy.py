"""A copy on this machine, as a command: what a copy is where there is no way to go."""

from __future__ import annotations

from trioshell.transports._base import Copy

# $1 cp's options, $2 the source, $3 the destination, $4 the node of a reverse copy. As with cp
# and scp, a directory takes the source in under its own name. Nothing stands under its final
# name before it is whole, except where a tree is merged into one that is there already.
_SCRIPT = """
name=$(basename -- "$2") dest=$3
if [ -n "$4" ]; then
    [ -d "$dest" ] || { echo "$dest: not a directory" >&2; exit 1; }
    dest=$dest/$name.$4
elif [ -d "$dest" ]; then
    dest=$dest/$name
fi
if [ -d "$2" ] && [ -d "$dest" ]; then
    exec cp -R $1 -- "$2/." "$dest"
fi
partial=$dest.partial.$$
trap 'rm -rf -- "$partial"' EXIT
trap 'exit 1' HUP INT TERM
cp -R $1 -- "$2" "$partial" && mv -f -T -- "$partial" "$dest"
"""


def local_copy(copy: Copy) -> tuple[str, ...]:
    """The argument vector that carries out `copy` here; placeholders are still in it."""
    options = "-p" if copy.preserve else ""
    node = "%h" if copy.reverse else ""
    words = (options, copy.source, copy.dest, node)
    return ("/bin/sh", "-c", _SCRIPT, "copy", *words)
