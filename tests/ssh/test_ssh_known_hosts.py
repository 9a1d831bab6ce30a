"""Our index of known_hosts finds what ssh-keygen finds, and notices a file that changes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioshell.transports._ssh_known_hosts import KnownHosts

# Two keys, as they stand in a file: what is in them is nothing to the index.
K1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA4Rmc8Sx7Y7cVZ9lPm8Ct3l5RU9S1nOXsMEVqQKzL8n"
K2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKzI3ZcJ5aBKJ8bVwJpSIYtFzOUfr5IEjaCXV8bHFr"

needs_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"
)


def lines_of_keygen(file: Path, host: str) -> list[int]:
    done = subprocess.run(
        ["ssh-keygen", "-F", host, "-f", str(file)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in re.findall(r"found: line (\d+)", done.stdout)]


def lines_of_ours(file: Path, host: str, port: int = 22) -> list[int]:
    found = KnownHosts([file]).lookup(host, port)
    return sorted(int(known.place.rpartition(" ")[2]) for known in found)


NAMES = ["alpha", "beta.example.org", "10.0.0.1", "[alpha]:2222", "GAMMA"]
PATTERNS = ["*", "*.example.org", "al?ha", "!alpha,*", "10.0.0.*", "[alpha]:*", "alpha,10.0.0.1"]
entry = st.tuples(
    st.sampled_from(["", "", "@revoked ", "@cert-authority "]),
    st.sampled_from(NAMES + PATTERNS),
    st.sampled_from([K1, K2]),
    st.sampled_from(["", " comment", "  # two words"]),
).map(lambda parts: f"{parts[0]}{parts[1]} {parts[2]}{parts[3]}")
noise = st.sampled_from(["", "# comment", "   ", "broken", "@revoked only", "@unknown alpha x y"])


@needs_keygen
@given(
    lines=st.lists(entry | noise, max_size=8),
    host=st.sampled_from(["alpha", "beta.example.org", "10.0.0.1", "gamma", "other"]),
    hashed=st.booleans(),
)
@settings(max_examples=100)
def test_it_finds_the_lines_that_ssh_keygen_finds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], host: str, hashed: bool
) -> None:
    file = tmp_path_factory.mktemp("known") / "known_hosts"
    file.write_text("\n".join(lines) + "\n")
    if hashed:  # which leaves lines with patterns as they are, and refuses what is broken
        subprocess.run(
            ["ssh-keygen", "-q", "-H", "-f", str(file)], capture_output=True, check=False
        )
    assert lines_of_ours(file, host) == lines_of_keygen(file, host)


def test_a_port_is_part_of_the_name_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"alpha {K1}\n[beta]:2222 {K2}\n[alpha]:2222 {K2}\n")
    assert lines_of_ours(file, "alpha") == [1]
    assert lines_of_ours(file, "Alpha", 2222) == [3]
    assert lines_of_ours(file, "alpha", 3333) == [1]  # as ssh, if nothing is under the port
    assert lines_of_ours(file, "beta") == []


def test_a_key_comes_with_its_marker_and_its_place(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"# first\n@revoked a {K1} why\n")
    two.write_text(f"a,b {K2}\n")
    found = KnownHosts([one, tmp_path / "missing", two]).lookup("a", 22)
    assert [(known.marker, known.key, known.place) for known in found] == [
        ("@revoked", K1, f"{one} line 2"),
        ("", K2, f"{two} line 1"),
    ]


@needs_keygen
@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_added_is_found_by_us_and_by_ssh(tmp_path: Path, hashed: bool) -> None:
    file = tmp_path / "new" / "known_hosts"
    known = KnownHosts([file], hashed=hashed)
    known.add("alpha", 22, K1)
    known.add("alpha", 2222, K2)
    assert file.stat().st_mode & 0o777 == 0o600
    assert ("alpha" in file.read_text()) is not hashed
    assert [key.key for key in known.lookup("alpha", 22)] == [K1]
    assert [key.key for key in known.lookup("alpha", 2222)] == [K2]
    assert (lines_of_keygen(file, "alpha"), lines_of_keygen(file, "[alpha]:2222")) == ([1], [2])


def test_a_last_line_without_its_end_is_not_spoilt(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"alpha {K1}")
    KnownHosts([file]).add("beta", 22, K2)
    assert file.read_text() == f"alpha {K1}\nbeta {K2}\n"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    known = KnownHosts([file])
    assert known.lookup("alpha", 22) == []
    file.write_text(f"alpha {K1}\n")
    assert [key.key for key in known.lookup("alpha", 22)] == [K1]
    file.write_text(f"alpha {K2}\n")
    os.utime(file, (1, 1))
    assert [key.key for key in known.lookup("alpha", 22)] == [K2]


@needs_keygen
def test_hashed_names_are_not_tried_before_the_key_is_there(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"alpha {K1}\nbeta {K2}\n@revoked alpha {K2}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    known = KnownHosts([file])
    found, complete = known.lookup_readable("alpha", 22)
    assert ([key.marker for key in found], complete) == (["@revoked"], False)
    assert known.has("alpha", 22, K1)
    assert not known.has("alpha", 22, K2)
    assert not known.has("other", 22, K1)
    assert known.hashed_types() == ["ssh-ed25519"]
    file.write_text(file.read_text() + f"gamma,alpha {K2}\n")
    found, complete = known.lookup_readable("alpha", 22)
    assert (sorted(key.marker for key in found), complete) == (["", "@revoked"], True)
