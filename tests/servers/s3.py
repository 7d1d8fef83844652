"""A server that speaks S3's protocol."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
from moto.server import ThreadedMotoServer


@dataclass(frozen=True, slots=True)
class S3Server:
    """Made by `s3_server`, with an empty bucket."""

    url: str
    bucket: str

    @property
    def variables(self) -> dict[str, str]:
        """What an ordinary client's environment says to be led here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "a-test",
            "AWS_SECRET_ACCESS_KEY": "a-tests-secret",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }

    def client(self) -> Any:
        """boto3's, by which the tests fill the bucket."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="a-test",
            aws_secret_access_key="a-tests-secret",
            region_name="eu-central-1",
        )

    def put(self, folder: Path, path: str) -> str:
        """Uploads the files of a folder; the URI of what they are in."""
        client = self.client()
        for file in folder.iterdir():
            client.put_object(Bucket=self.bucket, Key=f"{path}/{file.name}", Body=file.read_bytes())
        client.close()
        return f"s3://{self.bucket}/{path}"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serves on a free port of 127.0.0.1."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # All servers of a process share their buckets.
        served = S3Server(f"http://{host}:{port}", f"models-{uuid4().hex}")
        client = served.client()
        client.create_bucket(
            Bucket=served.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        client.close()
        yield served
    finally:
        server.stop()
