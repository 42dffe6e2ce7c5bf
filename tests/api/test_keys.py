import hashlib

import pytest

from api.keys import Keys, loopback, mint
from api.problems import Problem
from api.server import config
from streams.errors import SettingsError
from streams.settings import Settings

WRITER, WRITER_ENTRY = mint("writer", "write")
READER, READER_ENTRY = mint("reader", "read")
ADMIN, ADMIN_ENTRY = mint("admin", "admin")
BOTH, BOTH_ENTRY = mint("both", "read+write")
ENTRIES = f"{WRITER_ENTRY},{READER_ENTRY},{ADMIN_ENTRY},{BOTH_ENTRY}"
REACH = {"write": {WRITER, ADMIN, BOTH}, "read": {READER, ADMIN, BOTH}, "admin": {ADMIN}}


def bearer(secret):
    return [(b"authorization", f"Bearer {secret}".encode())]


def test_a_minted_key_opens_its_scope_and_no_other():
    secret, entry = mint("shop", "write")
    keys = Keys(entry)
    assert keys.admit(bearer(secret), "write") == "shop"
    assert keys.admit([(b"x-api-key", secret.encode())], "write") == "shop"
    with pytest.raises(Problem, match="'shop' lacks the scope 'read'") as caught:
        keys.admit(bearer(secret), "read")
    assert caught.value.status == 403


def test_only_the_hash_is_kept_and_no_message_holds_a_secret():
    secret, entry = mint("shop", "admin")
    assert secret not in entry
    assert entry.endswith(hashlib.sha256(secret.encode()).hexdigest())
    keys = Keys(entry)
    assert secret not in repr(vars(keys))
    with pytest.raises(Problem) as caught:
        keys.admit(bearer("rf_something-else"), "read")
    assert caught.value.status == 401
    assert "something-else" not in caught.value.detail


@pytest.mark.parametrize(
    "entries",
    [
        "shop",
        "shop:write",
        "shop:all:" + "0" * 64,
        "sh op:read:" + "0" * 64,
        "shop:read:secret",
        "a:read:" + "0" * 63,
    ],
)
def test_a_broken_entry_is_named(entries):
    with pytest.raises(SettingsError, match="REFOLD_API_KEYS") as caught:
        Keys(entries)
    assert "secret" not in str(caught.value).replace("SHA-256", "")


def test_two_keys_of_one_id_are_refused():
    with pytest.raises(SettingsError, match="same id"):
        Keys(f"{mint('a', 'read')[1]},{mint('a', 'write')[1]}")


def test_a_public_address_needs_a_key(api):
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(SettingsError, match="REFOLD_API_KEYS is empty"):
            config(Settings(host=host), api.app)
        assert config(Settings(host=host, api_keys=READER_ENTRY), api.app).host == host
    assert config(Settings(host="127.0.0.1"), api.app).host == "127.0.0.1"


def test_loopback():
    assert [
        host for host in ("localhost", "127.1.2.3", "::1", "10.0.0.1", "", "example.org") if loopback(host)
    ] == [
        "localhost",
        "127.1.2.3",
        "::1",
    ]


def test_without_keys_another_host_name_is_refused(api):
    """A web page whose name was pointed at 127.0.0.1 must not read what is here."""
    assert api.client.get("/v1/popular", headers={"host": "evil.example:8088"}).status_code == 403
    for host in ("localhost:8088", "127.0.0.1", "[::1]:8088"):
        assert api.client.get("/v1/popular", headers={"host": host}).status_code == 200


def test_every_route_asks_for_its_scope(make_api):
    api = make_api(api_keys=ENTRIES)
    described = api.client.get("/openapi.json").json()
    seen = set()
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            scope = operation["x-scope"]
            seen.add(scope)
            url = path.replace("{file}", "style.css").replace("{", "").replace("}", "")
            for secret in ("", "wrong", WRITER, READER, ADMIN, BOTH):
                headers = {"authorization": f"Bearer {secret}"} if secret else {}
                status = api.client.request(method, url, headers=headers, json=[]).status_code
                if scope == "open" or secret in REACH[scope]:
                    assert status not in (401, 403), (method, path, secret)
                else:
                    assert status == (401 if secret in ("", "wrong") else 403), (method, path, secret)
    assert seen == {"open", "write", "read", "admin"}


def test_401_names_the_scheme_and_403_logs_the_id_never_the_key(make_api, caplog):
    api = make_api(api_keys=ENTRIES)
    reply = api.client.get("/v1/popular")
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    api.client.get("/v1/popular", headers={"x-api-key": WRITER})
    assert "'writer'" in caplog.text
    assert WRITER not in caplog.text
