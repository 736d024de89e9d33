"""Settings that belong together: a model store in object storage, its database, its token."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.settings import Settings, StoreURL

SHARED: dict[str, Any] = {"database_url": "postgresql+psycopg://o@db/orchard"}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://b", "s3://b"),
        ("s3://b/p/q/", "s3://b/p/q"),
        ("gs://my-bucket/orchard.v1", "gs://my-bucket/orchard.v1"),
        ("az://c/p", "az://c/p"),
    ],
)
def test_a_store_in_object_storage(given: str, url: str) -> None:
    """It stays text, without a slash at its end; it is no folder, and is looked at less often."""
    found = Settings(model_store=given, **SHARED)  # type: ignore[arg-type]
    assert (found.model_store, found.place, found.is_remote) == (StoreURL(url), url, True)
    assert found.follow_every_s == 5.0
    with pytest.raises(TypeError, match=f"{url} is not a folder"):
        _ = found.folder


@pytest.mark.parametrize("given", ["model_store", "/var/lib/orchard", "a:b", "a:/b", "./s3:/b", "s3"])
def test_a_folder_stays_one(given: str) -> None:
    """Whatever signs its name has."""
    found = Settings(model_store=given)  # type: ignore[arg-type]
    assert (found.model_store, found.folder, found.is_remote) == (Path(given), Path(given), False)
    assert found.place == str(Path(given).absolute())
    assert (found.follow_every_s, found.unservable) == (0.5, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("s3:/b/p", "did you mean s3://b/p?"),
        ("S3://b/p", "did you mean s3://b/p?"),
        ("s3:///b", "did you mean s3://b?"),
        ("s3://", "not a bucket and perhaps a prefix, such as s3://bucket/prefix"),
        ("s3://b//x", "not a bucket"),
        ("s3://b/../x", "not a bucket"),
        ("s3://b/p?endpoint=x", "not a bucket"),
        ("az://c/two words", "not a bucket"),
        ("file:///srv", "of the scheme s3, gs, az, and not of 'file'"),
    ],
)
def test_what_is_no_store(given: str, message: str) -> None:
    """It is said what to write."""
    with pytest.raises(ValidationError) as refused:
        Settings(model_store=given, **SHARED)  # type: ignore[arg-type]
    assert message in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("url", [None, "sqlite:////srv/observations.db", "sqlite+pysqlite:///x.db"])
def test_a_shared_store_needs_a_shared_database(url: str | None) -> None:
    """Whatever is done with it: a file on one machine would be another one on each."""
    with pytest.raises(ValidationError, match=r"ORCHARD_DATABASE_URL: the model store is s3://b.*no SQLite file"):
        Settings(model_store="s3://b", database_url=url)  # type: ignore[arg-type]


def test_a_shared_store_holds_no_token() -> None:
    """A service needs one from elsewhere; a command needs none."""
    without = Settings(model_store="s3://b", **SHARED)  # type: ignore[arg-type]
    assert without.unservable is not None
    assert without.unservable.startswith("ORCHARD_TOKEN_FILE: the model store s3://b holds no token")
    for given in ({"token": "a-token-for-writing"}, {"token_file": __file__}):
        assert Settings(model_store="s3://b", **SHARED, **given).unservable is None  # type: ignore[arg-type]


def test_two_sources_of_tokens_contradict_each_other() -> None:
    """Neither is preferred."""
    with pytest.raises(ValidationError, match="ORCHARD_TOKEN and ORCHARD_TOKEN_FILE are both set"):
        Settings(token="a-token-for-writing", token_file="/run/token")  # type: ignore[arg-type]  # noqa: S106
