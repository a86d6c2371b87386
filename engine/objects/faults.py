"""What went wrong with an object elsewhere, in one line that says what to do, without secrets."""

import os
import re

from engine.errors import NotFoundError, ObjectError
from engine.objects.address import Address


class ObjectGoneError(ObjectError, NotFoundError):
    """There is no such object."""


class ObjectExistsError(ObjectError):
    """An object is there that was to be made, or is another than the one to be replaced."""


_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINTS = {
    "s3": "AWS_ENDPOINT_URL",
    "gs": "the network",
    "az": "AZURE_STORAGE_ENDPOINT, AZURE_STORAGE_ACCOUNT_NAME",
}
_REGION = (
    "redirect without LOCATION",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraint",
    "TemporaryRedirect",
)
_UNKNOWN_KEYS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AuthenticationFailed",
    "status code: 401",
)
_UNREACHED = ("Connect", "dns error", "tcp connect", "error trying to connect")
_INSTANCE = ("169.254.169.254", "metadata.google.internal", "CredentialsError", "credential")


def fault_of(
    error: Exception, address: Address, verb: str, tries: int, seconds: float
) -> ObjectError:
    """Say what an error of the library means.

    Only codes are taken from its text: an address in there may have a signature.
    """
    text, kind = str(error), type(error).__name__
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"status code: (\d{3})", text)
    told = " ".join(found[1] for found in (status, code) if found)
    bucket = f"{address.scheme}://{address.bucket}"
    keys = _KEYS.get(address.scheme, "the key")
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        end = _ENDPOINTS[address.scheme]
        return ObjectGoneError(
            f"no bucket {bucket}{_endpoint(address)}; look at its name and {end}"
        )
    if "RequestTimeTooSkewed" in text:
        said = f"the clocks of this machine and of {bucket} are apart (RequestTimeTooSkewed)"
        return ObjectError(f"{said}; set this machine's clock")
    if any(sign in text for sign in _REGION):
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        said = f"bucket {bucket} is in another region than {region!r}, or behind another endpoint"
        return ObjectError(f"{said}; set AWS_REGION, or AWS_ENDPOINT_URL")
    if any(sign in text for sign in _UNKNOWN_KEYS):
        return ObjectError(f"the key for {bucket} is not accepted ({told}); look at {keys}")
    if kind in ("AlreadyExistsError", "PreconditionError"):
        return ObjectExistsError(f"{address} has changed, or was made by somebody else meanwhile")
    if isinstance(error, FileNotFoundError):
        return ObjectGoneError(f"no object {address}")
    if any(sign in text for sign in _INSTANCE):
        said = f"no key for {bucket} in the environment, and none from this machine's own role"
        return ObjectError(f"{said}; set {keys} and what belongs to it")
    if kind == "PermissionDeniedError" or "status code: 403" in text:
        said = f"no right to {verb} {address} ({told or 'denied'})"
        return ObjectError(f"{said}; give it to the key in {keys}")
    if any(sign in text for sign in _UNREACHED):
        end = _ENDPOINTS[address.scheme]
        return ObjectError(f"{bucket}{_endpoint(address)} cannot be reached; look at {end}")
    if "Timeout" in text or "TimedOut" in text:
        said = f"{address} did not come within {seconds:g} s in {tries} tries"
        return ObjectError(f"{said}; try again, or set DEJAVU_OBJECT_SECONDS higher")
    what = f"answers {told}" if told else f"broke off ({kind})"
    return ObjectError(f"{bucket} {what} after {tries} tries to {verb} {address}; try again")


def _endpoint(address: Address) -> str:
    given = os.environ.get("AWS_ENDPOINT_URL", "") if address.scheme == "s3" else ""
    return f" at {given.rpartition('@')[2]}" if given else ""
