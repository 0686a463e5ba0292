"""Builds the client of an off-site store, with nothing taken from files or variables around it."""

from typing import Any

import boto3.session
from botocore.config import Config

from activities.offsite_side import FarAddress

_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 4
_CONNECTIONS = 20


def s3_client(address: FarAddress) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    """Return boto3's client for S3; it tries again a few times, with jitter, and Temporal has the rest."""
    session = boto3.session.Session(
        aws_access_key_id=address.access_key,
        aws_secret_access_key=address.secret_key,
        aws_session_token=address.session_token,
        region_name=address.region,
    )
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        signature_version="s3v4",
        # Stores beside AWS seldom have a name for each bucket.
        s3={"addressing_style": "path" if address.endpoint else "auto"},
        # We send and compare SHA-256 ourselves; the trailing checksums of newer SDKs break other stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        proxies={},
    )
    return session.client("s3", endpoint_url=address.endpoint, config=config)
