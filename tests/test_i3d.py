"""The backbones against the original network, PyTorchVideo's own forward, and arithmetic by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from pytorchvideo.models.hub import i3d_r50
from torch import nn

from extract.i3d.backbone import Backbone, load_backbone
from extract.i3d.network import ConvUnit, InceptionI3d, MaxPool, same_padding

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "data"
PICTURES = ("astronaut", "chelsea")


def reference_clip(name: str) -> np.ndarray:
    """Return the clip of ``make_i3d_reference.py``: a pan over a picture, uint8 (8, 224, 224, 3)."""
    picture = np.asarray(Image.open(DATA / f"{name}.png"))
    return np.stack([picture[2 * i : 2 * i + 224, 4 * i : 4 * i + 224] for i in range(8)])


def relative_l2(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: where other processes run too, more of them wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(DATA / "i3d_reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.stack([reference_clip(name) for name in PICTURES])


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return load_backbone("inception", weights=None, device="cpu")


@pytest.fixture(scope="module")
def maps(inception: Backbone, clips: np.ndarray) -> np.ndarray:
    return inception(clips)


def test_inception_agrees_with_the_original_network(maps: np.ndarray, reference: dict[str, np.ndarray]) -> None:
    assert maps.shape == (2, 1024, 7, 7)
    assert maps.dtype == np.float32
    for value, name in zip(maps, PICTURES, strict=True):
        assert relative_l2(value, reference[f"{name}/Mixed_5c"][:, 0]) <= 1e-5


def test_every_endpoint_agrees_with_the_original_network(
    inception: Backbone, clips: np.ndarray, reference: dict[str, np.ndarray]
) -> None:
    x = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).double().div(127.5).sub(1).float()
    seen = 0
    with torch.inference_mode():
        for endpoint, layer in inception.network.named_children():
            x = layer(x)
            for value, name in zip(x.double().mean(dim=(2, 3, 4)).numpy(), PICTURES, strict=True):
                assert relative_l2(value, reference[f"{name}/{endpoint}/mean"]) <= 1e-5, endpoint
                seen += 1
    assert seen == sum(key.endswith("/mean") for key in reference)


def test_batched_equals_single(inception: Backbone, clips: np.ndarray, maps: np.ndarray) -> None:
    single = inception(clips[1:])
    assert relative_l2(single, maps[1:]) <= 1e-5
    np.testing.assert_allclose(single, maps[1:], rtol=0, atol=1e-5 * maps.max())


def test_odd_batch_keeps_its_order(inception: Backbone, clips: np.ndarray) -> None:
    small = np.concatenate([clips, clips[::-1], clips[:1]])[:, :, :64, :64]
    batched = inception(small)
    assert batched.shape == (5, 1024, 2, 2)
    for i, j in ((0, 3), (0, 4), (1, 2)):
        np.testing.assert_allclose(batched[i], batched[j], rtol=0, atol=1e-5 * batched.max())
    assert relative_l2(batched[1], batched[0]) > 0.1


def test_channel_order_matters_and_memory_order_does_not(inception: Backbone, clips: np.ndarray) -> None:
    rgb = clips[:, :, 80:144, 80:144].copy()
    expected = inception(rgb)
    bgr = rgb[..., ::-1].copy()
    assert relative_l2(inception(bgr), expected) > 0.1
    view = bgr[..., ::-1]  # RGB again, as a read-only view with a negative stride
    view.flags.writeable = False
    np.testing.assert_array_equal(inception(view), expected)


def test_longer_clip_is_averaged_over_time(inception: Backbone, clips: np.ndarray) -> None:
    clip = np.concatenate(list(clips))[None, :, :64, :64]
    x = torch.from_numpy(clip.copy()).permute(0, 4, 1, 2, 3).float().mul(2 / 255).sub(1)
    with torch.inference_mode():
        expected = inception.network(x)
    assert expected.shape == (1, 1024, 2, 2, 2)
    np.testing.assert_allclose(inception(clip), expected.mean(2).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "clips",
    [
        np.zeros((1, 8, 32, 32, 3), np.float32),
        np.zeros((8, 32, 32, 3), np.uint8),
        np.zeros((1, 3, 8, 32, 32), np.uint8),
        np.zeros((0, 8, 32, 32, 3), np.uint8),
    ],
)
def test_wrong_clips_are_refused(inception: Backbone, clips: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(B, T, H, W, 3\)"):
        inception(clips)


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ValueError, match="take one of inception, i3d_r50"):
        load_backbone("c3d", weights=None, device="cpu")
    with pytest.raises(ValueError, match="device 'abacus'"):
        load_backbone("inception", weights=None, device="abacus")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [
        (224, 7, 2, (2, 3)),
        (8, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (7, 2, 2, (0, 1)),
        (1, 2, 2, (0, 1)),
        (14, 3, 1, (1, 1)),
        (4, 1, 2, (0, 0)),
        (5, 2, 1, (0, 1)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == expected


SIZES = [(1, 5, 6), (4, 7, 8), (3, 1, 9), (2, 2, 11)]


def windows(x: np.ndarray, kernel: tuple[int, int, int], stride: tuple[int, int, int], fill: float) -> np.ndarray:
    """Return the SAME windows of x (T, H, W, C), taken one by one, as (T', H', W', k, k, k, C)."""
    size = x.shape[:3]
    out_size = [-(-n // s) for n, s in zip(size, stride, strict=True)]
    padding = [max((o - 1) * s + k - n, 0) // 2 for n, k, s, o in zip(size, kernel, stride, out_size, strict=True)]
    out = np.full((*out_size, *kernel, x.shape[3]), fill)
    for position in itertools.product(*(range(n) for n in out_size)):
        for offset in itertools.product(*(range(k) for k in kernel)):
            source = tuple(p * s + d - b for p, s, d, b in zip(position, stride, offset, padding, strict=True))
            if all(0 <= i < n for i, n in zip(source, size, strict=True)):
                out[position + offset] = x[source]
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 1), (2, 2)])
def test_convolution_by_hand(size: tuple[int, int, int], kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    unit, x = ConvUnit(2, 3, kernel, stride), torch.randn(*size, 2)
    seen = windows(x.numpy(), (kernel,) * 3, (stride,) * 3, 0.0)
    weight, bias = (p.detach().double().numpy() for p in (unit.weight, unit.bias) if p is not None)
    expected = np.einsum("abcxyzi,oixyz->oabc", seen, weight) + bias.reshape(-1, 1, 1, 1)
    with torch.inference_mode():
        np.testing.assert_allclose(unit(x.permute(3, 0, 1, 2)[None])[0], expected.clip(min=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
    ],
)
def test_max_pool_by_hand_where_all_is_negative(
    size: tuple[int, int, int], kernel: tuple[int, int, int], stride: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    x = -1 - torch.rand(*size, 2)  # padding with zeros would win everywhere
    expected = windows(x.numpy(), kernel, stride, -np.inf).max(axis=(3, 4, 5))
    pooled = MaxPool(kernel, stride)(x.permute(3, 0, 1, 2)[None])[0]
    np.testing.assert_array_equal(pooled.permute(1, 2, 3, 0), expected)


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (8, 1), (9, 2), (16, 2)])
def test_output_shape(frames: int, steps: int) -> None:
    with torch.device("meta"):
        assert InceptionI3d()(torch.empty(2, 3, frames, 224, 224)).shape == (2, 1024, steps, 7, 7)


def test_i3d_r50_agrees_with_pytorchvideo(tmp_path: Path, clips: np.ndarray) -> None:
    torch.manual_seed(0)
    network = i3d_r50(pretrained=False).eval()
    for module in network.modules():  # statistics that training would leave, so that their use is seen
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)  # some start at zero and would silence their branch
    path = tmp_path / "I3D_8x8_R50.pyth"
    torch.save({"model_state": network.state_dict(), "epoch": 3}, path)

    backbone = load_backbone("i3d_r50", weights=path, device="cpu")
    clip = clips[:1, :4]  # two steps are left of four frames
    maps = backbone(clip)
    with torch.inference_mode():
        x = (torch.from_numpy(clip).permute(0, 4, 1, 2, 3).contiguous() / 255 - 0.45) / 0.225
        for block in network.blocks[:6]:
            x = block(x)
    assert x.shape == (1, 2048, 2, 7, 7)
    assert maps.shape == (1, backbone.channels, 7, 7)
    assert x.std() > 0
    assert relative_l2(maps, x.mean(dim=2).numpy()) <= 1e-5
