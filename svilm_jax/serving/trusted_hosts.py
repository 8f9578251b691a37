"""Host names that the server answers to, as protection against DNS rebinding."""

import ipaddress
import re
from collections.abc import Sequence

from svilm_jax.config import ConfigError

_HOST_NAME = re.compile(r"(\*\.)?[a-z0-9._-]+", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def trusted_hosts(host: str, bound: str, names: Sequence[str]) -> list[str]:
    """Returns the accepted Host names, for Starlette's `TrustedHostMiddleware`.

    Another site can point its own host name at this machine (DNS rebinding) and read the responses with its scripts.
    Such requests carry that name in the Host header.

    Args:
      host: as requested by the user.
      bound: the IP address listened on. For a wildcard address every name is accepted unless `names` has some.
      names: additional ones; "*.example.org" includes all subdomains.

    Raises:
      ConfigError: an invalid name.
    """
    for name in names:
        if not _HOST_NAME.fullmatch(name) and not _is_ipv6(name):
            raise ConfigError(f"--allow-host={name}: expected a name without a port, such as videos.example.org")
    if ipaddress.ip_address(bound).is_unspecified and not names:
        return ["*"]
    return list(dict.fromkeys([*_LOOPBACK, *(f"[{n}]" if _is_ipv6(n) else n for n in (host, bound, *names))]))


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False
