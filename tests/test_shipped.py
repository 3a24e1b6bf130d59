"""Tests of the pretrained checkpoint: it loads, it makes predictions, and its model card is correct."""

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


def test_checkpoint_is_small_and_loads() -> None:
    assert (SHIPPED / WEIGHTS).stat().st_size < 20_000_000
    model, settings = load_model(SHIPPED)
    assert not model.training
    # The default extraction settings are those of the training data.
    assert settings.config.extract == Config().extract


def test_names_of_weights_are_unchanged() -> None:
    """Renaming a module renames its weights, and existing checkpoints would no longer load."""
    names = sorted(load_file(SHIPPED / WEIGHTS))
    assert len(names) == 158
    assert hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] == "2e67174ffae88dd2"


def test_model_card_states_training_data_and_limitations() -> None:
    card = (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
    for part in ("## Trained on", "## Figures", "## Limitations", "m_vIoU", "seed 0"):
        assert part in card
    train = load_model(SHIPPED)[1].config.train
    said = (
        f"{train.epochs} epochs, batches of {train.batch_size}, Adam at {train.learning_rate:g} "
        f"with a {train.decay} decay, seed {train.seed}"
    )
    assert said in " ".join(card.split())


def test_own_run_takes_precedence(tmp_path: Path) -> None:
    named, own = tmp_path / "named", tmp_path / "own"
    assert choose_run(None, own) == SHIPPED
    own.mkdir()
    (own / CONFIG).write_text("{}")
    assert choose_run(None, own) == own
    assert choose_run(named, own) == named  # a missing run is an error later


def test_ground_works_without_a_trained_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", moving_square(24))
    result = CliRunner().invoke(main, ["ground", "a.mp4", "the man in red walks", "--json", "t.json"])
    assert result.exit_code == 0, result.output
    assert "the shipped checkpoint, trained on drawn scenes alone" in result.stderr
    assert (tmp_path / "t.json").is_file()
