"""hasura-auth: the same tests run against the real program with ``DR_LAB_AUTH_URL``."""

import httpx

from tests.lab.bench import Bench, until

SIGN_IN = "/signin/email-password"
TRACKED = {
    "provider_requests",
    "providers",
    "refresh_token_types",
    "refresh_tokens",
    "roles",
    "user_providers",
    "user_roles",
    "user_security_keys",
    "users",
}


def sign_in(bench: Bench, client: httpx.Client, **changes: str) -> httpx.Response:
    body = {"email": "user@nself.org", "password": bench.env["LAB_USER_PASSWORD"], **changes}
    return client.post(SIGN_IN, json=body)


def test_a_sign_in_opens_a_session(bench: Bench) -> None:
    with bench.client("auth") as client:
        said = sign_in(bench, client)
    session = said.json()["session"]
    assert said.status_code == 200
    assert session["accessTokenExpiresIn"] == 900
    assert session.keys() >= {"accessToken", "refreshToken", "refreshTokenId", "user"}
    assert session["user"]["email"] == "user@nself.org"


def test_a_wrong_password_is_refused_with_the_real_words(bench: Bench) -> None:
    with bench.client("auth") as client:
        said = sign_in(bench, client, password="not the password")
    assert (said.status_code, said.json()) == (
        401,
        {"error": "invalid-email-password", "message": "Incorrect email or password", "status": 401},
    )


def test_an_unverified_account_is_refused(bench: Bench) -> None:
    bench.sql("UPDATE auth.users SET email_verified = false WHERE email = 'helper@nself.org'")
    try:
        with bench.client("auth") as client:
            said = sign_in(bench, client, email="helper@nself.org")
    finally:
        bench.sql("UPDATE auth.users SET email_verified = true WHERE email = 'helper@nself.org'")
    assert (said.status_code, said.json()["error"]) == (401, "unverified-user")


def test_a_refresh_token_is_spent_for_a_new_one(bench: Bench) -> None:
    with bench.client("auth") as client:
        old = sign_in(bench, client).json()["session"]["refreshToken"]
        first = client.post("/token", json={"refreshToken": old})
        again = client.post("/token", json={"refreshToken": old})
    assert first.status_code == 200
    assert first.json()["refreshToken"] != old
    assert again.status_code == 401


def test_a_token_is_verified_and_names_its_account(bench: Bench) -> None:
    token = bench.token()
    with bench.client("auth") as client:
        assert client.post("/token/verify", json={"token": token}).status_code == 200
        assert client.post("/token/verify", json={"token": token + "x"}).status_code == 401
        who = client.get("/user", headers={"Authorization": f"Bearer {token}"})
    assert who.json()["email"] == "user@nself.org"


def test_version_and_keys_of_a_symmetric_secret(bench: Bench) -> None:
    with bench.client("auth") as client:
        assert "version" in client.get("/version").json()
        assert client.get("/.well-known/jwks.json").json() == {"keys": None}


def test_without_a_database_sign_in_fails_while_the_health_check_stays_green(bench: Bench) -> None:
    with bench.client("auth") as client, bench.stopped("postgres"):
        said, health = sign_in(bench, client), client.get("/healthz")
    assert (said.status_code, said.json()) == (
        500,
        {"error": "internal-server-error", "message": "Internal server error", "status": 500},
    )
    assert health.status_code == 200


def test_a_start_without_a_database_ends_with_status_1_until_the_database_is_back(bench: Bench) -> None:
    bench.own("auth")
    auth = bench.lab.container("auth")
    before = int(auth.attrs["RestartCount"])
    with bench.stopped("postgres"):
        auth.restart(timeout=5)

        def restarted() -> bool:
            auth.reload()
            return int(auth.attrs["RestartCount"]) > before

        until(restarted)
        assert b"failed to apply migrations" in auth.logs(tail=20)
    until(lambda: bench.lab.status()["auth"] == "running (healthy)", 120)


def test_its_tables_are_tracked_in_hasura(bench: Bench) -> None:
    headers = {"X-Hasura-Admin-Secret": bench.env["HASURA_ADMIN_SECRET"]}
    with bench.client("hasura") as client:
        said = client.post(
            "/v1/metadata", json={"type": "export_metadata", "args": {}}, headers=headers
        ).json()
    tables = [entry["table"] for source in said["sources"] for entry in source["tables"]]
    assert {table["name"] for table in tables if table["schema"] == "auth"} >= TRACKED
