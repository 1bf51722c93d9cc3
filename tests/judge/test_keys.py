"""A key goes only to the host it is bound to: nothing that a study file says sends it elsewhere."""

import os
from pathlib import Path

import pytest
from servers.openai_stub import StubServer, chat_reply

from inoc.errors import BadInput
from inoc.judge import JudgeRequest, open_judge
from inoc.services import Service, ServiceSettings
from inoc.services.keys import OWN_HOSTS, check_key, config_file

FAR = "https://judge.example/v1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    for name in ("INOC_KEYS", "OPENAI_BASE_URL", "TINKER_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.mark.parametrize(("name", "host"), [(name, hosts[0]) for name, hosts in OWN_HOSTS.items()])
def test_a_known_service_gets_its_own_variable_by_https_only(name: str, host: str) -> None:
    check_key(name, f"https://{host}/v1")
    for url in (f"http://{host}/v1", f"https://{host}.evil.example/v1", f"https://evil-{host}/v1", FAR):
        with pytest.raises(BadInput, match=rf"{name} is not sent to .*Fix: .*INOC_KEYS={name}="):
            check_key(name, url)


@pytest.mark.parametrize("url", [FAR, "https://api.openai.com/v1", "http://127.0.0.1:8000/v1", "http://localhost/v1"])
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HOME", "MY_KEY"])
def test_any_other_variable_goes_nowhere_unasked(name: str, url: str) -> None:
    with pytest.raises(BadInput, match=f"{name} is not sent"):
        check_key(name, url)


def test_the_user_allows_a_variable_for_a_host(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("INOC_KEYS", "MY_KEY=judge.example, OTHER=localhost:8000 THIRD=")
    check_key("MY_KEY", FAR)
    check_key("MY_KEY", "https://JUDGE.example:8443/v1")
    check_key("OTHER", "http://localhost:8000/v1")
    for name, url in (
        ("OTHER", FAR),
        ("MY_KEY", "http://localhost:8000"),
        ("OTHER", "http://localhost:9000"),
        ("THIRD", FAR),
    ):
        with pytest.raises(BadInput, match="is not sent"):
            check_key(name, url)
    monkeypatch.delenv("INOC_KEYS")
    file = config_file()
    assert file.is_relative_to(home)
    file.parent.mkdir(parents=True)
    file.write_text('[keys]\nMY_KEY = ["judge.example"]\nOTHER = ["localhost:8000"]\n')
    check_key("MY_KEY", FAR)
    check_key("OTHER", "http://localhost:8000/v1")
    with pytest.raises(BadInput, match="is not sent"):
        check_key("OTHER", FAR)
    for text in ("keys = 1", "[keys]\nMY_KEY = 3", "[keys]\nMY_KEY = 'judge.example'", "[keys", "\x00"):
        file.write_text(text)
        with pytest.raises(BadInput, match=r"config\.toml.*Fix: ") as refused:
            check_key("MY_KEY", FAR)
        assert "\n" not in str(refused.value)


def test_the_environments_own_address_gets_the_environments_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway:8080/v1")
    check_key("OPENAI_API_KEY", "http://gateway:8080/other")
    for url in ("http://gateway:8081/v1", "https://gateway:8080/v1", FAR):
        with pytest.raises(BadInput, match="is not sent"):
            check_key("OPENAI_API_KEY", url)
    with pytest.raises(BadInput, match="is not sent"):
        check_key("MY_KEY", "http://gateway:8080/v1")


def test_no_byte_of_a_secret_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study file of an attacker: a real server that records everything gets nothing."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret")
    with StubServer(lambda call: chat_reply([("50", 1.0)])) as stub:
        options = {"url": stub.url, "key_env": "AWS_SECRET_ACCESS_KEY", "cache": str(tmp_path / "c")}
        with pytest.raises(BadInput, match=r"AWS_SECRET_ACCESS_KEY is not sent to 127\.0\.0\.1"):
            list(open_judge("logprob", "German", options).judge([JudgeRequest("a", "German", "Hi?", "ok")]))
        with pytest.raises(BadInput, match="is not sent") as refused:
            Service(ServiceSettings(url=stub.url, key_env="AWS_SECRET_ACCESS_KEY"))
        assert stub.requests == []
    assert "the-secret" not in str(refused.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "the-secret"
