"""The checkpoint that comes with the package: it loads, it answers, and its card says what it is."""

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from cli import main
from pipeline.checkpoint import CONFIG, WEIGHTS, load_model
from pipeline.config import Config
from pipeline.inference.pretrained import SHIPPED, choose_run
from tests.media import moving_square, write_video


def test_it_is_small_and_loads() -> None:
    assert (SHIPPED / WEIGHTS).stat().st_size < 20_000_000
    model, settings = load_model(SHIPPED)
    assert not model.training
    # What `features` and `ground` make by default is what it learnt from.
    assert settings.config.extract == Config().extract


def test_its_weights_keep_their_names() -> None:
    """A module that is renamed renames its weights, and no checkpoint loads any more."""
    names = sorted(load_file(SHIPPED / WEIGHTS))
    assert len(names) == 158
    assert hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] == "2e67174ffae88dd2"


def test_its_card_says_what_it_was_trained_on_and_what_it_cannot_do() -> None:
    card = (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in ("## Trained on", "## Figures", "## What it cannot do", "m_vIoU", "seed 0"):
        assert part in card
    train = load_model(SHIPPED)[1].config.train
    said = (
        f"{train.epochs} epochs, batches of {train.batch_size}, Adam at {train.learning_rate:g} "
        f"with a {train.decay} decay, seed {train.seed}"
    )
    assert said in " ".join(card.split())


def test_a_run_of_one_s_own_comes_first(tmp_path: Path) -> None:
    named, own = tmp_path / "named", tmp_path / "own"
    assert choose_run(None, own) == SHIPPED
    own.mkdir()
    (own / CONFIG).write_text("{}")
    assert choose_run(None, own) == own
    assert choose_run(named, own) == named  # and if it is not there, that is an error


def test_ground_answers_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", moving_square(24))
    result = CliRunner().invoke(main, ["ground", "a.mp4", "the man in red walks", "--json", "t.json"])
    assert result.exit_code == 0, result.output
    assert "the shipped checkpoint, trained on drawn scenes alone" in result.stderr
    assert (tmp_path / "t.json").is_file()
