"""clush.conf and run modes, found and read as clush does."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioshell.cli._config import load_config
from trioshell.cli._settings import ConfigError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is where settings are looked for last, and so win."""
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


MAIN = """\
[Main]
fanout: 3
ssh_options: -oControlPath=/tmp/%%h
confdir: $CFGDIR/modes "$CFGDIR/more modes" $CFGDIR/modes
"""


def test_modes_are_found_beside_it_and_win(place: Path) -> None:
    conf = place / "clush.conf"
    conf.write_text(MAIN)
    for name in ("modes", "more modes"):
        (place / name).mkdir()
    (place / "modes" / "a.conf").write_text("[mode:sudo]\ncommand_prefix: sudo\nfanout: 4\n")
    (place / "more modes" / "b.conf").write_text("[mode:slow]\nfanout: 1\n")
    (place / "modes" / "ignored").write_text("[mode:none]\n")
    plain = load_config(str(conf), None)
    assert plain["fanout"] == "3"
    assert plain["ssh_options"] == "-oControlPath=/tmp/%h"
    assert load_config(str(conf), "sudo") == {**plain, "command_prefix": "sudo", "fanout": "4"}
    with pytest.raises(ConfigError, match=r"--mode none: .*; there are: sudo, slow"):
        load_config(str(conf), "none")


def test_without_a_file_there_are_no_settings(place: Path) -> None:
    conf = place / "empty"
    conf.write_text("")
    assert load_config(str(conf), None) == {}
    with pytest.raises(ConfigError, match=r"--mode x: .*; there are none"):
        load_config(str(conf), "x")


def test_the_users_file_wins(place: Path) -> None:
    (place / "config" / "clustershell").mkdir(parents=True)
    (place / "config" / "clustershell" / "clush.conf").write_text("[Main]\nfanout: 7\n")
    assert load_config(None, None)["fanout"] == "7"


def test_a_file_that_was_asked_for_must_be_there(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"--conf .*nope: the file cannot be read"):
        load_config(str(place / "nope"), None)


@pytest.mark.parametrize(
    "text", [b"fanout: 3\n", b"[Main]\nfanout\n", b"\xff", b"[Main]\na: %(b)s"]
)
def test_a_file_that_makes_no_sense_is_named(place: Path, text: bytes) -> None:
    (place / "clush.conf").write_bytes(text)
    with pytest.raises(ConfigError, match=r"^clush.conf: ") as caught:
        load_config(str(place / "clush.conf"), None)
    assert "\n" not in str(caught.value)
