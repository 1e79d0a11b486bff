"""Every number and name the server goes by, checked when it is made.

In: what the command line gives. Out: a frozen `Settings`, or a `UsageError`. A bind beyond loopback without a token is
no valid value of this type, so nothing behind it has to ask again.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from tumorscope.core.errors import UsageError

TOKEN_VARIABLE = "TUMORSCOPE_TOKEN"
MIN_TOKEN = 16
"""Characters of a token; 16 random ones of base64 hold 96 bits, which no number of requests guesses."""
MAX_TOKEN = 4096
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the server listens and where its limits are.

    Attributes:
        host: Address or name to bind.
        port: 0 for any free one.
        token: What clients must present; required beyond loopback. None for no token.
        allowed_hosts: Further names under which the server may be asked for, as in a URL, without port.
        queue_images: Images accepted and not answered yet; more are refused with 429.
        explanations: Explanations accepted and not answered yet; more are refused with 429.
        batch_images: Images predicted at a time.
        wait_s: Longest time a batch waits for images that are being decoded.
        decode_threads: Threads that decode; 0 for one a CPU, at most 4.
        files: Files of one request.
        body_bytes: Largest body of one request.
        held_bytes: Bodies of all requests together; more are refused with 429.
        body_s: Seconds for a body to arrive.
        head_s: Seconds for the head of a request to arrive.
        idle_s: Seconds a connection is kept without a request.
        connections: Open connections; more are closed at once.
        stop_s: Seconds that accepted requests have to finish when the server stops.

    Raises:
        UsageError: If a value cannot work, or the bind needs a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    queue_images: int = 256
    explanations: int = 8
    batch_images: int = 32
    wait_s: float = 0.004
    decode_threads: int = 0
    files: int = 32
    body_bytes: int = 50_000_000
    held_bytes: int = 256_000_000
    body_s: float = 60.0
    head_s: float = 10.0
    idle_s: int = 30
    connections: int = 512
    stop_s: int = 60

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port {self.port}", expected="0 to 65535", where="--port", fix="--port 8000")
        if self.queue_images < self.files:
            raise UsageError(
                f"a queue of {self.queue_images} images",
                expected=f"at least {self.files}, the files of one request",
                where="--queue",
                fix=f"--queue {self.files} or more",
            )
        if self.token is not None:
            _check_token(self.token)
        elif not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines, and there is no token",
                expected="a token for any address beyond loopback",
                where="--host",
                fix=f"set {TOKEN_VARIABLE} or give --token-file, or leave --host out",
            )

    @property
    def threads(self) -> int:
        """Threads that decode."""
        return self.decode_threads or min(4, os.cpu_count() or 1)

    def knows_host(self, name: str) -> bool:
        """True if the server may be asked for under `name` (lower case, without port, IPv6 in brackets).

        A page of another site can have its own name resolve to this server (DNS rebinding), but its requests then
        carry that name. Loopback names and what was bound are known; where all addresses are bound, any literal
        address is, because such an attack always comes with a name.
        """
        if name in LOOPBACK_NAMES or name in self.allowed_hosts or name == _as_in_url(self.host):
            return True
        return self.host in WILDCARDS and _address(name.strip("[]")) is not None


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`; a name other than localhost counts as reachable."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _as_in_url(host: str) -> str:
    return f"[{host.lower()}]" if ":" in host else host.lower()


def _check_token(token: str) -> None:
    if not (MIN_TOKEN <= len(token) <= MAX_TOKEN and token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(
            f"the token has {len(token)} characters, or characters that no header can carry",
            expected=f"{MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters without spaces",
            where=TOKEN_VARIABLE,
            fix="make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )


def read_token(file: Path | None) -> str | None:
    """The token from a file or from the environment; None without either. Never from the command line.

    Raises:
        UsageError: If the file cannot be read or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the token file cannot be read", expected="a text file with the token", where=file, fix="check its rights"
        ) from error
    if not token:
        raise UsageError("the token file is empty", expected="a token", where=file, fix="write one into it")
    return token
