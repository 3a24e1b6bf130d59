"""The public API: gkcmn_pipe."""

from __future__ import annotations

import doctest
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import gkcmn_pipe
from cli import main
from model.config import ModelConfig
from pipeline.benchmark.experiments import CONFIGS
from pipeline.config import build_config, load_config
from tests.media import moving_square, write_video


def test_every_public_name_is_defined_where_it_is_said_to_be() -> None:
    assert set(gkcmn_pipe.__all__) == set(gkcmn_pipe._PLACES)
    for name in gkcmn_pipe.__all__:
        assert getattr(gkcmn_pipe, name) is not None
    assert set(gkcmn_pipe.__all__) <= set(dir(gkcmn_pipe))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Predictor'"):
        _ = gkcmn_pipe.Predictor


def test_the_import_is_light() -> None:
    code = "import sys, gkcmn_pipe; print(sorted({'torch', 'numpy', 'zarr', 'click', 'spacy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_doctests() -> None:
    result = doctest.testmod(gkcmn_pipe)
    assert result.attempted >= 4
    assert result.failed == 0


def test_models_by_name() -> None:
    for name in gkcmn_pipe.list_models():
        assert gkcmn_pipe.build_model(name, fused_width=16, sentence_width=16).config.fused_width == 16
    with pytest.raises(ValueError, match=r"model 'bert': unknown; known models are gkcmn, gkcmn_plus, bm"):
        gkcmn_pipe.build_model("bert")
    with pytest.raises(TypeError):
        gkcmn_pipe.build_model("gkcmn", depth=3)


def test_the_benchmark_trains_the_models_of_these_names() -> None:
    for name in gkcmn_pipe.list_models():
        content = tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
        assert build_config(content, where=name).model == gkcmn_pipe.build_model(name).config


def test_the_command_line_knows_each_model() -> None:
    help_text = CliRunner().invoke(main, ["train", "--help"]).output
    assert f"[{'|'.join(gkcmn_pipe.list_models())}]" in help_text


def test_settings_are_laid_over_a_model(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nspan_kernel = 5\n")
    plus = gkcmn_pipe.build_model("gkcmn_plus").config
    config = load_config({"model.fused_width": 16}, file=file, environ={}, model=plus)
    assert (config.model.span_kernel, config.model.fused_width, config.model.interaction) == (5, 16, "words")
    assert load_config(environ={}).model == ModelConfig()


def test_one_video_and_many_queries(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, moving_square(24))
    extracted = gkcmn_pipe.extract_features(path, tmp_path / "s.zarr")
    assert [outcome.key for outcome in extracted.done] == ["a.mp4"]
    assert gkcmn_pipe.extract_features([path], tmp_path / "s.zarr").skipped == 1
    predictor = gkcmn_pipe.GroundingPredictor.from_pretrained(device="cpu")
    video = predictor.encode_video(path, store=str(tmp_path / "s.zarr"))
    assert not video.extracted
    for query in ("the man in red", "a dog runs"):
        tube = predictor.predict(video, query)
        start, end = tube.span
        assert 0 <= start < end <= 24
        assert 0 <= tube.start_s < tube.end_s
        assert tube.boxes.shape == (end - start, 4)
        assert np.isfinite(tube.boxes).all()
        assert 0 <= tube.score <= 1
    with pytest.raises(gkcmn_pipe.GkcmnError, match="no words"):
        predictor.predict(video, "...")
