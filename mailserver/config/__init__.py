"""TOML to a frozen `Config`, every error reported at once with its key (design section 6). Imports no Twisted.

One door: `load_config`. `schema` has the keys, `values` the rules for single values, `rules` those between keys.
"""

from mailserver.config.fault import ConfigError
from mailserver.config.listeners import Listener, ListenerCheck
from mailserver.config.load import DEFAULT_PATHS, find_config, load_config
from mailserver.config.schema import (
    Accounts,
    AddressFamily,
    Auth,
    Authentication,
    AuthWithoutTls,
    BareNewlines,
    Check,
    Config,
    Dns,
    Hold,
    Journal,
    Listen,
    Pop3,
    Practice,
    Relay,
    SmarthostTls,
    Smtp,
    SpfFail,
    Storage,
    Submission,
    Times,
    Tls,
)
from mailserver.config.values import HostPort

__all__ = [
    "DEFAULT_PATHS",
    "Accounts",
    "AddressFamily",
    "Auth",
    "AuthWithoutTls",
    "Authentication",
    "BareNewlines",
    "Check",
    "Config",
    "ConfigError",
    "Dns",
    "Hold",
    "HostPort",
    "Journal",
    "Listen",
    "Listener",
    "ListenerCheck",
    "Pop3",
    "Practice",
    "Relay",
    "SmarthostTls",
    "Smtp",
    "SpfFail",
    "Storage",
    "Submission",
    "Times",
    "Tls",
    "find_config",
    "load_config",
]
