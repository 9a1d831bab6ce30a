"""The keywords of ssh_config(5): which there are, what each takes, and what we make of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# What becomes of a keyword that ssh knows:
#   honoured   it does here what it does there;
#   no meaning it is about terminals, prompts, forwardings or sharing, which a command run by
#              us has not, or has by other means: there is nothing to honour;
#   not ours   it would change what happens, and we can't or won't do it: said in a warning.
# A keyword in none of the three is an error of the file, as it is to ssh.

_FLAG: Final = {"yes": True, "true": True, "no": False, "false": False}


def parse_flag(value: str) -> bool:
    """``yes`` or ``no``.

    Raises:
        ValueError: it is neither.
    """
    try:
        return _FLAG[value.lower()]
    except KeyError:
        raise ValueError("takes yes or no") from None


def parse_port(value: str) -> int:
    """A port number, 1 to 65535.

    Raises:
        ValueError: it is not one.
    """
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ValueError("takes a port from 1 to 65535")
    return int(value)


def parse_count(value: str) -> int:
    """A whole number, 0 or more.

    Raises:
        ValueError: it is not one.
    """
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError("takes a whole number")
    return int(value)


_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_seconds(value: str) -> float:
    """A time such as ``90``, ``10m`` or ``1h30m``, in seconds; ``none`` is 0.

    Raises:
        ValueError: it is not one.
    """
    if value.lower() == "none":
        return 0.0
    if not re.fullmatch(r"(?:[0-9]{1,9}[smhdwSMHDW]?)+", value):
        raise ValueError("takes a time such as 30, 10m or 1h30m")
    parts = re.findall(r"([0-9]+)([a-z]?)", value.lower())
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"takes {', '.join(words[:-1])} or {words[-1]}")
        return value.lower()

    return parse


def _amount(value: str) -> str:
    if not re.fullmatch(r"(?i)default|none|[0-9]+[kmg]?", value):
        raise ValueError("takes an amount such as 1G, or default")
    return value.lower()


# Each argument of a keyword goes through its check when the file is read, so that a mistake
# is found with its line, whether or not a host uses it.
CHECKS: Final[dict[str, Callable[[str], object]]] = {
    "addressfamily": _one_of("any", "inet", "inet6"),
    "compression": parse_flag,
    "connecttimeout": parse_seconds,
    "gssapiauthentication": parse_flag,
    "gssapidelegatecredentials": parse_flag,
    "gssapikeyexchange": parse_flag,
    "hashknownhosts": parse_flag,
    "hostbasedauthentication": parse_flag,
    "identitiesonly": parse_flag,
    "kbdinteractiveauthentication": parse_flag,
    "passwordauthentication": parse_flag,
    "port": parse_port,
    "pubkeyauthentication": _one_of("yes", "no", "true", "false", "unbound", "host-bound"),
    "rekeylimit": _amount,
    "serveralivecountmax": parse_count,
    "serveraliveinterval": parse_seconds,
    "stricthostkeychecking": _one_of("yes", "accept-new", "no", "off", "ask", "true", "false"),
    "tcpkeepalive": parse_flag,
}

# Keywords that take all the words of their line.
MANY: Final = frozenset(
    {"globalknownhostsfile", "userknownhostsfile", "sendenv", "setenv", "rekeylimit"}
)

# Keywords that collect: each line adds, where for the others the first one counts.
COLLECTED: Final = frozenset({"identityfile", "certificatefile", "sendenv"})

# Keywords whose argument is the rest of the line, quotes included.
WHOLE_LINE: Final = frozenset({"proxycommand", "remotecommand", "localcommand"})

# Older names of the same thing.
ALIASES: Final = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "hostbasedacceptedkeytypes": "hostbasedacceptedalgorithms",
    "globalknownhostsfile2": "globalknownhostsfile",
    "userknownhostsfile2": "userknownhostsfile",
    "identityfile2": "identityfile",
    "smartcarddevice": "pkcs11provider",
}

HONOURED: Final = frozenset(CHECKS) | {
    "bindaddress",
    "casignaturealgorithms",
    "certificatefile",
    "ciphers",
    "globalknownhostsfile",
    "hostkeyalgorithms",
    "hostkeyalias",
    "hostname",
    "identityagent",
    "identityfile",
    "kexalgorithms",
    "macs",
    "pkcs11provider",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "sendenv",
    "setenv",
    "tag",
    "user",
    "userknownhostsfile",
}

NO_MEANING: Final = frozenset(
    {
        "addkeystoagent",
        "batchmode",
        "canonicaldomains",
        "canonicalizefallbacklocal",
        "canonicalizemaxdots",
        "canonicalizepermittedcnames",
        "channeltimeout",
        "cipher",
        "clearallforwardings",
        "compressionlevel",
        "connectionattempts",
        "controlmaster",
        "controlpath",
        "controlpersist",
        "enableescapecommandline",
        "escapechar",
        "exitonforwardfailure",
        "fallbacktorsh",
        "fingerprinthash",
        "forkafterauthentication",
        "forwardx11timeout",
        "gatewayports",
        "ignoreunknown",
        "ipqos",
        "keepalive",
        "loglevel",
        "logverbose",
        "numberofpasswordprompts",
        "obscurekeystroketiming",
        "permitlocalcommand",
        "permitremoteopen",
        "protocol",
        "requesttty",
        "rhostsrsaauthentication",
        "rsaauthentication",
        "sessiontype",
        "stdinnull",
        "streamlocalbindmask",
        "streamlocalbindunlink",
        "syslogfacility",
        "updatehostkeys",
        "usekeychain",
        "useprivilegedport",
        "userroaming",
        "usersh",
        "versionaddendum",
        "visualhostkey",
        "warnweakcrypto",
        "xauthlocation",
    }
)

# With what to say of them, in the one warning that names them all.
NOT_OURS: Final = {
    "bindinterface": "",
    "canonicalizehostname": "names are looked up as they are",
    "checkhostip": "host keys are looked up by name",
    "dynamicforward": "",
    "enablesshkeysign": "",
    "forwardagent": "never from a file: ask for it with options=",
    "forwardx11": "",
    "forwardx11trusted": "",
    "hostbasedacceptedalgorithms": "",
    "knownhostscommand": "",
    "localcommand": "",
    "localforward": "",
    "nohostauthenticationforlocalhost": "",
    "proxyusefdpass": "",
    "pubkeyacceptedalgorithms": "",
    "refuseconnection": "",
    "remotecommand": "",
    "remoteforward": "",
    "requiredrsasize": "",
    "revokedhostkeys": "use @revoked in known_hosts",
    "securitykeyprovider": "",
    "stricthostkeychecking": "host keys are checked unless host_keys='off'",
    "tunnel": "",
    "tunneldevice": "",
    "verifyhostkeydns": "",
}

# What switches a keyword of NOT_OURS off: set to this, there is nothing to warn of.
OFF: Final = frozenset({"no", "false", "none"})


def is_known(keyword: str) -> bool:
    """True if ssh knows this keyword (in lower case), whatever we make of it."""
    return keyword in HONOURED or keyword in NO_MEANING or keyword in NOT_OURS
