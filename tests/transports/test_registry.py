"""How a transport is found by its name, and what is said if it is not."""

from __future__ import annotations

from importlib import metadata

import pytest

from trioshell._errors import TransportError
from trioshell.transports import ExecTransport, check_transport, find_transport


class Point:
    """An entry point that gives what it is told to."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        Point("third", ExecTransport),
        Point("broken", ImportError("no module named x")),
        Point("wrong", dict),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)


def test_a_name_of_ours_and_an_object() -> None:
    assert isinstance(find_transport("exec"), ExecTransport)
    mine = ExecTransport()
    assert find_transport(mine) is mine


@pytest.mark.usefixtures("registered")
def test_a_third_party_is_found_by_its_entry_point() -> None:
    assert check_transport("third") == "third"
    assert isinstance(find_transport("third"), ExecTransport)


@pytest.mark.usefixtures("registered")
def test_an_unknown_name_is_told_what_there_is() -> None:
    wanted = "transport must be one of 'broken', 'exec', 'openssh', 'ssh', 'third', 'wrong', not "
    with pytest.raises(ValueError, match=wanted + "'rsh'"):
        find_transport("rsh")


@pytest.mark.usefixtures("registered")
def test_what_cannot_be_loaded_or_is_none_is_an_error_that_names_it() -> None:
    with pytest.raises(TransportError, match="transport 'broken' can't be loaded: no module"):
        find_transport("broken")
    with pytest.raises(TransportError, match="'wrong' makes no Transport"):
        find_transport("wrong")


@pytest.mark.parametrize("wrong", [None, 1, b"exec", ExecTransport])
def test_what_is_no_name_and_no_transport_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="transport must be a name or a Transport, not "):
        check_transport(wrong)
