import os
from pathlib import Path

import pytest

from pipeline.config import Config, build_config, config_toml, config_values, load_config, parse_assignment
from pipeline.errors import ConfigError


def test_defaults_are_the_paper_s_but_for_the_learning_rate() -> None:
    config = load_config(environ={})
    assert (config.extract.clip_length, config.extract.clip_stride, config.extract.picture_size) == (
        8,
        4,
        224,
    )
    assert (config.model.max_steps, config.model.visual_width, config.model.heatmap_size) == (200, 32, 16)
    assert config.model.loss_weights == (1.0, 2.0, 0.2, 0.1)
    assert config.train.learning_rate == 0.001


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('device = "cpu"\n[train]\nepochs = 1\nbatch_size = 2\nseed = 3\n[paths]\nrun = "r"\n')
    config = load_config(
        {"train.seed": "5", "train.epochs": None},
        file=path,
        environ={
            "GKCMN_TRAIN_BATCH_SIZE": "4",
            "GKCMN_TRAIN_SEED": "4",
            "GKCMN_CONFIG": str(path),
            "HOME": "/",
        },
    )
    assert config.device == "cpu"
    assert (config.train.epochs, config.train.batch_size, config.train.seed) == (1, 4, 5)
    assert config.paths.run == Path("r")


def test_the_file_in_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gkcmn.toml").write_text("[train]\nepochs = 7\n")
    assert load_config(environ={}).train.epochs == 7


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("[train]\nepoch = 1\n", "unknown key train.epoch; known are .*train.epochs"),
        ("[trian]\nepochs = 1\n", "unknown key trian"),
        ("[train]\nepochs = 'many'\n", "train.epochs = 'many'"),
        ("[train]\nepochs = 0\n", "train.epochs must be at least 1"),
        ("[extract]\nbackbone = 'vgg'\n", "extract.backbone = 'vgg'"),
        ("train = 3\n", "train is a section"),
        ("[train\n", "not a TOML file"),
        (f"a = {'[' * 100_000}", "nested too deeply"),
        (f"a = {'9' * 5_000}", "not a TOML file"),
        ("[paths]\nrun = ''\n", "paths.run = '': it is empty"),
        ('[paths]\nstore = "a\\u0000"\n', "holds a NUL"),
        ("[extract]\nweights = ''\n", "extract.weights = '': it is empty"),
        ("[train]\nseed = 99999999999999999999\n", "train.seed must lie between"),
        ("[train]\nbatch_size = 99999999999\n", "train.batch_size must be at most"),
        ("[train]\nlearning_rate = 1e38\n", r"train.learning_rate must be at most 1e\+30"),
        ("[tool.other]\nx = 1\n", "unknown key tool"),
    ],
)
def test_what_is_not_allowed_names_file_and_key(tmp_path: Path, content: str, cause: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=f"c.toml: .*{cause}"):
        load_config(file=path, environ={})


def test_what_is_right_only_together_is_taken_together() -> None:
    together = {"extract.clip_stride": "16", "extract.clip_length": "16"}
    for flags in (together, dict(reversed(together.items()))):
        assert load_config(flags, environ={}).extract.clip_stride == 16
    environ = {"GKCMN_EXTRACT_CLIP_LENGTH": "2", "GKCMN_EXTRACT_CLIP_STRIDE": "2"}
    assert load_config(environ=environ).extract.clip_length == 2
    with pytest.raises(ConfigError, match=r"GKCMN_\*: extract.clip_stride"):
        load_config(environ={"GKCMN_EXTRACT_CLIP_LENGTH": "2"})


def test_errors_name_their_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="GKCMN_TRAIN_EPOCHS: train.epochs = 'x'"):
        load_config(environ={"GKCMN_TRAIN_EPOCHS": "x"})
    with pytest.raises(ConfigError, match="on the command line: model.sigma must be positive"):
        load_config({"model.sigma": "-1"}, environ={})
    with pytest.raises(ConfigError, match="has no '='"):
        parse_assignment("train.epochs")
    with pytest.raises(ConfigError, match=r"absent\.toml: no such file"):
        load_config(file=tmp_path / "absent.toml", environ={})


@pytest.mark.parametrize(
    "setting",
    [
        "extract.decode_timeout_s=1e308",
        "extract.clip_length=1000000000000",
        "extract.batch_clips=99999999999999999999",
        "extract.max_words=1000000000000",
        "train.loader_workers=1000000000",
        "train.learning_rate=1e308",
        "train.clip_norm=1e308",
        "train.warmup_steps=99999999999999999999",
        "model.sigma=1e308",
    ],
)
def test_numbers_beyond_any_use_are_refused(setting: str) -> None:
    key, value = parse_assignment(setting)
    with pytest.raises(ConfigError, match=f"{key.partition('.')[2]} must be .*at most"):
        load_config({key: value}, environ={})


def test_a_path_that_toml_cannot_hold_is_a_comment(tmp_path: Path) -> None:
    config = load_config({"paths.run": os.fsdecode(b"caf\xe9"), "train.epochs": 7}, environ={})
    (tmp_path / "c.toml").write_text(config_toml(config), encoding="utf-8")
    assert r"# run is not UTF-8: caf\xe9" in config_toml(config)
    assert load_config(file=tmp_path / "c.toml", environ={}).train.epochs == 7


def test_values_come_back(tmp_path: Path) -> None:
    config = load_config(
        {"model.loss_weights": "[1, 2, 3, 4]", "extract.weights": "/w.pt", "paths.store": 's "quoted"'},
        environ={},
    )
    assert config.model.loss_weights == (1.0, 2.0, 3.0, 4.0)
    assert build_config(config_values(config), where="x") == config
    path = tmp_path / "c.toml"
    path.write_text(config_toml(config))
    assert load_config(file=path, environ={}) == config
    path.write_text(config_toml(Config()))
    assert load_config(file=path, environ={}) == Config()


def test_a_settings_file_that_is_no_text_names_itself(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"# caf\xe9")
    for path in (tmp_path / "c.toml", tmp_path):
        with pytest.raises(ConfigError, match=f"{path.name}: not a TOML file"):
            load_config(file=path, environ={})


def test_variables_that_are_no_settings_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"GKCMN_HOME": "/x", "GKCMN_": "", "GKCMN_TRAIN": "3", "GKCMN_TRAIN_EPOCH": "3", "GKCMN_CONFIG": "x"}
    assert load_config(environ=environ) == Config()
    (told,) = caplog.messages
    assert "ignored: GKCMN_, GKCMN_HOME, " in told
    assert "GKCMN_TRAIN_EPOCH (did you mean GKCMN_TRAIN_EPOCHS?)" in told
    assert "GKCMN_CONFIG" not in told


def test_variables_may_have_small_letters_but_capitals_count() -> None:
    assert load_config(environ={"GKCMN_train_epochs": "7"}).train.epochs == 7
    assert load_config(environ={"GKCMN_train_epochs": "7", "GKCMN_TRAIN_EPOCHS": "8"}).train.epochs == 8


def test_a_list_may_be_nested_too_deeply() -> None:
    with pytest.raises(ConfigError, match="model.loss_weights = .*nested too deeply"):
        load_config({"model.loss_weights": "[" * 100_000}, environ={})
