"""Each way in which storage refuses is one line that says what to do, and no secret is in it."""

import logging
import sys
from collections.abc import Callable

import pytest

from engine.errors import EngineError, UsageError
from engine.ingesting.discover import discover
from engine.objects import buckets
from engine.objects.address import Address, lies_in, read_address
from engine.objects.remote import head_of
from tests.objects.s3 import S3, SECRET

URL = "s3://bucket/a/b.mp4"


def head() -> object:
    return head_of(read_address(URL))


def listed() -> object:
    return discover(["s3://bucket/a/"])


def written() -> object:
    return buckets.put(read_address(URL), b"1")


@pytest.mark.parametrize("ask", [head, listed, written])
@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "no right to .*AccessDenied.*give it to the key"),
        (403, "InvalidAccessKeyId", "not accepted .*look at AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "not accepted .*look at AWS_ACCESS_KEY_ID"),
        (403, "RequestTimeTooSkewed", "clocks .* apart .*set this machine's clock"),
        (301, "PermanentRedirect", "another region than 'us-east-1'.*AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "another region.*AWS_REGION"),
        (404, "NoSuchBucket", "no bucket s3://bucket at http://.*AWS_ENDPOINT_URL"),
        (503, "SlowDown", "answers 503.* after 3 tries .*try again"),
    ],
)
def test_a_refusal_says_what_to_do(
    s3: S3, ask: Callable[[], object], status: int, code: str, said: str
) -> None:
    s3.fail(".", 10**6, status=status, code=code)
    with pytest.raises(EngineError, match=said) as raised:
        ask()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9", "http://no.such.host.invalid"])
def test_without_a_network_it_says_where_it_looked(
    s3: S3, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", place)
    for ask in (head, listed):
        with pytest.raises(EngineError, match=f"at {place} cannot be reached.*AWS_ENDPOINT_URL"):
            ask()


def test_one_who_never_answers(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_SECONDS", "0.3")
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "2")
    s3.fail(".", 10**6, delay=2.0)
    with pytest.raises(EngineError, match=r"not come within 0\.3 s in 2 tries"):
        head()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    for ask in (head, listed, written):
        with pytest.raises(UsageError, match=r"pip install 'dejavu-engine\[s3\]'"):
            ask()


@pytest.mark.parametrize(
    ("url", "name", "value", "said"),
    [
        ("az://films/a.mp4", "", "", "look at AZURE_STORAGE_ACCOUNT_NAME"),
        ("az://films/a.mp4", "AZURE_STORAGE_ACCOUNT_KEY", SECRET, "AZURE_STORAGE_ACCOUNT_KEY"),
        ("gs://films/a.mp4", "GOOGLE_APPLICATION_CREDENTIALS", SECRET, "GOOGLE_SERVICE_ACCOUNT"),
        ("s3://films/a.mp4", "AWS_SKIP_SIGNATURE", SECRET, "look at AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_environment_that_does_not_do(
    s3: S3, monkeypatch: pytest.MonkeyPatch, url: str, name: str, value: str, said: str
) -> None:
    if name:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "films")
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said) as raised:
        head_of(read_address(url))
    assert SECRET not in str(raised.value)


def test_no_secret_is_told(
    s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-tests")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint.replace("//", f"//someone:{SECRET}@"))
    for code in ("AccessDenied", "NoSuchBucket", "SlowDown"):
        s3.fail(".", 10**6, status=403, code=code)
        for ask in (head, listed, written):
            with pytest.raises(EngineError) as raised:
                ask()
            assert raised.value.__cause__ is None
            assert SECRET not in str(raised.value)
            assert "token-of-tests" not in str(raised.value)
        s3.faults.clear()
    assert SECRET not in caplog.text
    assert "token-of-tests" not in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://host/a.mp4", "allowed: s3://, gs://, az://, https://"),
        ("http://host/a.mp4", "allowed: s3://, gs://, az://, https://"),
        ("https://user:secret@host/a.mp4", "a name before the host"),
        ("https://host/a.mp4?X-Amz-Signature=secret", "addresses are stored"),
        ("s3:///a.mp4", "allowed: s3://BUCKET/KEY"),
        ("s3://bucket/a//b.mp4", "an empty part"),
        ("s3://bucket/a/../b.mp4", "an empty part"),
        ("s3://bucket/a\nb.mp4", "allowed: s3://BUCKET/KEY"),
    ],
)
def test_what_is_no_address_is_refused(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read_address(given)
    assert "secret" not in str(raised.value)


def test_an_address_tells_of_names_what_a_path_does() -> None:
    found = read_address("s3://bucket/a/b c.tar.mp4")
    assert found == Address("s3", "bucket", "a/b c.tar.mp4")
    assert str(found) == "s3://bucket/a/b c.tar.mp4"
    assert (found.name, found.stem, found.suffix) == ("b c.tar.mp4", "b c.tar", ".mp4")
    assert str(found.parent) == "s3://bucket/a"
    assert lies_in(found, read_address("s3://bucket/a"))
    assert lies_in(found, read_address("s3://bucket/"))
    assert lies_in(found, found)
    assert not lies_in(read_address("s3://bucket/ab"), read_address("s3://bucket/a"))
    assert not lies_in(found, read_address("gs://bucket/a"))
