"""What cannot work is refused before anything is bound or loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorscope.core.errors import UsageError
from tumorscope.serving.settings import TOKEN_VARIABLE, Settings, is_loopback, read_token

TOKEN = "a-token-of-many-characters"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "scans.example", "127.0.0.1.example"])
def test_beyond_loopback_needs_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="there is no token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).token is None


@pytest.mark.parametrize("token", ["", "short", "with space in the middle", "ümlaut-of-many-characters", "a" * 5000])
def test_tokens_that_no_header_carries_or_anyone_guesses(token: str) -> None:
    with pytest.raises(UsageError, match="the token has") as caught:
        Settings(token=token)
    assert not token or token not in str(caught.value)


def test_limits_that_cannot_work() -> None:
    with pytest.raises(UsageError, match="a queue of 5 images"):
        Settings(queue_images=5)
    with pytest.raises(UsageError, match="port 70000"):
        Settings(port=70000)


def test_names_it_may_be_asked_for() -> None:
    plain = Settings()
    assert all(plain.knows_host(name) for name in ("localhost", "127.0.0.1", "[::1]"))
    assert not any(plain.knows_host(name) for name in ("evil.example", "192.168.1.7", "localhost.evil.example"))
    everywhere = Settings(host="0.0.0.0", token=TOKEN, allowed_hosts=("scans.example",))
    assert everywhere.knows_host("192.168.1.7")  # an address cannot be rebound to another server
    assert everywhere.knows_host("[2001:db8::1]")
    assert everywhere.knows_host("scans.example")
    assert not everywhere.knows_host("evil.example")
    assert Settings(host="2001:db8::1", token=TOKEN).knows_host("[2001:db8::1]")


def test_where_the_token_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, "of the environment")
    assert read_token(None) == "of the environment"
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN
    (tmp_path / "empty").write_text("\n")
    for name, words in (("empty", "is empty"), ("gone", "cannot be read")):
        with pytest.raises(UsageError, match=words):
            read_token(tmp_path / name)
