"""A store on an S3 server of this machine's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from extract.store.feature_store import FeatureStore
from tests.media import moving_square, write_video

pytestmark = pytest.mark.slow

SECRET = "a-secret-that-nobody-may-read"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="clips")
        yield "s3://clips"
    server.stop()


def run(*args: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *map(str, args)], check=False, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == code, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_store_in_a_bucket_is_the_store_in_a_folder(bucket: str, tmp_path: Path) -> None:
    for number in range(2):
        write_video(tmp_path / "clips" / f"{number}.mp4", moving_square(12, seed=number))
    far, near = f"{bucket}/deep/features.zarr", tmp_path / "features.zarr"
    assert "2 videos done" in run("features", tmp_path / "clips", "--store", far)
    assert "0 videos done (0 clips), 2 there already" in run("features", tmp_path / "clips", "--store", far)
    run("features", tmp_path / "clips", "--store", near)
    for key in ("0.mp4", "1.mp4"):
        there, here = FeatureStore.open(far).read(key), FeatureStore.open(near).read(key)
        assert np.array_equal(there.i3d, here.i3d)
        assert np.array_equal(there.clip_frames, here.clip_frames)
    assert "0 faulty" in run("verify", far)
    assert "0.mp4" in run("inspect", far)


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    assert bucket  # the server runs
    assert "s3://none/features.zarr: no feature store" in run("inspect", "s3://none/features.zarr", code=1)
