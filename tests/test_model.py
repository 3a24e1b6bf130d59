import dataclasses
import math
from typing import Any

import pytest
import torch

from model.baseline import Baseline, BaselineOutput
from model.box_linking import path_boxes
from model.boxes import box_giou, box_iou, span_iou
from model.config import Ablation, Architecture, ModelConfig
from model.gkcmn import Gkcmn
from model.heatmaps import cell_centres, cells_inside, decode_boxes, heatmap_targets, peak_boxes
from model.inputs import ModelInput, ModelOutput, ModelTarget
from model.losses import focal_terms, gkcmn_losses, spatial_losses, temporal_losses
from model.proposals import best_spans, candidate_spans
from model.registry import build_model
from model.span_decoding import inside_steps, likely_spans, step_entropy

BEYOND: dict[str, Any] = {
    "interaction": "words",
    "temporal_pooling": "attention",
    "span_choice": "steps",
    "box_choice": "path",
}
SMALL = ModelConfig(feature_channels=8, word_dim=6, visual_width=8, sentence_width=16, fused_width=16, dropout=0.0)


def make_inputs(lengths: list[int], words: list[int], *, config: ModelConfig = SMALL, seed: int = 0) -> ModelInput:
    generator = torch.Generator().manual_seed(seed)
    steps, longest = max(lengths), max(words)
    return ModelInput(
        features=torch.rand(len(lengths), steps, config.feature_channels, 7, 7, generator=generator),
        video=torch.arange(len(lengths)),
        step_mask=torch.arange(steps)[None] < torch.tensor(lengths)[:, None],
        words=torch.randn(len(lengths), longest, config.word_dim, generator=generator),
        word_mask=torch.arange(longest)[None] < torch.tensor(words)[:, None],
    )


def make_target(batch: int, steps: int, seed: int = 0) -> ModelTarget:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(batch, steps, 2, generator=generator) * 0.5
    mask = torch.zeros(batch, steps, dtype=torch.bool)
    mask[:, 1:4] = True
    return ModelTarget(
        boxes=torch.cat([low, low + 0.1 + torch.rand(batch, steps, 2, generator=generator) * 0.4], -1),
        box_mask=mask,
        span=torch.tensor([[1.2, 3.9]] * batch),
    )


# Boxes


def test_overlaps_match_hand_computed_values() -> None:
    a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 3.0, 3.0])
    assert box_iou(a, b).item() == pytest.approx(1 / 7)
    assert box_giou(a, b).item() == pytest.approx(1 / 7 - 2 / 9)
    assert box_iou(a, torch.tensor([5.0, 5.0, 6.0, 6.0])).item() == 0
    assert box_giou(a, torch.tensor([2.0, 0.0, 4.0, 2.0])).item() == pytest.approx(0)
    assert box_iou(a, a).item() == box_giou(a, a).item() == 1
    assert span_iou(torch.tensor([0.0, 4.0]), torch.tensor([2.0, 6.0])).item() == pytest.approx(1 / 3)


def test_empty_boxes_and_spans_have_no_overlap() -> None:
    empty = torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert box_iou(empty, empty).item() == 0
    assert span_iou(empty[:2], empty[:2]).item() == 0


# Gaussian heatmaps (Eq. 5)


def test_heatmap_is_the_gaussian_of_eq_5() -> None:
    heat = heatmap_targets(torch.tensor([0.0, 0.0, 0.5, 0.25]), size=16, sigma=0.9)
    # The center is (4, 2) in cells. Cell (row 2, column 4) contains it; cell (2, 6) is (2.5, 0.5) away.
    assert heat[2, 4] == 1
    assert heat[2, 6].item() == pytest.approx(torch.exp(torch.tensor(-(2.5**2 + 0.5**2) / (2 * 0.81))).item())
    assert heat.argmax() == 2 * 16 + 4


def test_peak_of_a_target_heatmap_decodes_to_its_box() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(200, 2, generator=generator) * 0.6
    boxes = torch.cat([low, low + 0.02 + torch.rand(200, 2, generator=generator) * 0.38], dim=-1)
    heat = heatmap_targets(boxes, size=16, sigma=0.9)
    grid = cell_centres(16)
    scaled = boxes[:, None, None] * 16
    distances = torch.cat([grid - scaled[..., :2], scaled[..., 2:] - grid], dim=-1).movedim(-1, 1)
    decoded = peak_boxes(torch.logit(heat, eps=1e-6), distances)
    assert torch.allclose(decoded, boxes, atol=1e-5)
    assert (heat.amax(dim=(-2, -1)) > 0.99).all()


def test_cells_inside_a_box_or_at_its_center() -> None:
    inside = cells_inside(torch.tensor([[0.0, 0.0, 0.25, 0.125], [0.51, 0.51, 0.52, 0.52]]), 16)
    assert inside[0].sum() == 8
    assert inside[0, :2, :4].all()
    assert inside[1].sum() == 1
    assert inside[1, 8, 8]


def test_boxes_decode_from_cell_centers() -> None:
    boxes = decode_boxes(torch.ones(4, 16, 16))
    assert boxes[3, 5].tolist() == pytest.approx([4.5 / 16, 2.5 / 16, 6.5 / 16, 4.5 / 16])


# Proposals


def test_proposals_are_clipped_to_the_sample_without_duplicates() -> None:
    spans, valid = candidate_spans(torch.tensor([10, 3]), 10, (4, 8, 12, 16))
    assert valid[0].all(dim=0).tolist() == [True, True, True, False]
    assert valid[1, :3].all(dim=0).tolist() == [True, False, False, False]
    assert not valid[1, 3:].any()
    assert spans[0, 0, 0].tolist() == [0, 2.5]
    assert spans[0, 5, 2].tolist() == [0, 10]
    assert spans[1, 1, 0].tolist() == [0, 3]


def test_best_proposal_is_shifted_and_clamped() -> None:
    scores = torch.zeros(2, 10, 2)
    scores[0, 4, 0] = 5
    scores[1, 9, 1] = 9  # beyond the second sample's end
    scores[1, 2, 0] = 4
    offsets = torch.zeros(2, 10, 2, 2)
    offsets[0, 4, 0] = torch.tensor([-0.5, 99.0])
    offsets[1, 2, 0] = torch.tensor([9.0, -9.0])  # crossed: the candidate itself is taken
    spans, score = best_spans(scores, offsets, torch.tensor([10, 5]), (4, 8))
    assert spans.tolist() == [[2.0, 10.0], [0.5, 4.5]]
    assert score.tolist() == pytest.approx(torch.sigmoid(torch.tensor([5.0, 4.0])).tolist())


# The network


@pytest.mark.parametrize("architecture", ["gkcmn", "baseline"])
@pytest.mark.parametrize(
    "ablation", ["none", "no_serial", "no_parallel", "no_mixed", "no_temporal_attention", "single_point"]
)
def test_padding_does_not_change_a_sample(ablation: Ablation, architecture: Architecture) -> None:
    _check_padding(dataclasses.replace(SMALL, ablation=ablation, architecture=architecture))


def test_padding_does_not_change_a_sample_of_gkcmn_plus() -> None:
    _check_padding(dataclasses.replace(SMALL, **BEYOND))


def _check_padding(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config).eval()
    inputs = make_inputs([12, 5], [7, 3])
    alone = ModelInput(
        features=inputs.features[1:, :5],
        video=torch.tensor([0]),
        step_mask=inputs.step_mask[1:, :5],
        words=inputs.words[1:, :3],
        word_mask=inputs.word_mask[1:, :3],
    )
    noisy = dataclasses.replace(
        inputs,
        features=inputs.features.masked_fill(~inputs.step_mask[..., None, None, None], 9.0),
        words=inputs.words.masked_fill(~inputs.word_mask[..., None], 9.0),
    )
    with torch.no_grad():
        expected = model(alone)
        for batch in (inputs, noisy):
            output = model(batch)
            for field in dataclasses.fields(expected):
                padded = getattr(output, field.name)[1, :5]
                assert torch.allclose(padded, getattr(expected, field.name)[0], atol=1e-5), field.name
            answers = model.answer(output, batch.step_mask.sum(dim=1)), model.answer(expected, torch.tensor([5]))
            assert torch.allclose(answers[0].spans[1], answers[1].spans[0], atol=1e-4)
            assert torch.allclose(answers[0].boxes[1, :5], answers[1].boxes[0], atol=1e-5)
            assert (answers[0].spans[:, 0] < answers[0].spans[:, 1]).all()
            assert (answers[0].spans[:, 1] <= torch.tensor([12, 5])).all()


@pytest.mark.parametrize("change", [{}, {"upsampling": "transposed"}, {"sentence_pooling": "last"}])
def test_output_shapes_and_all_weights_get_gradients(change: dict[str, str]) -> None:
    config = dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = Gkcmn(config)
    inputs, target = make_inputs([9, 6], [4, 5]), make_target(2, 9)
    output = model(inputs)
    assert output.heatmap_logits.shape == (2, 9, 16, 16)
    assert output.distances.shape == (2, 9, 4, 16, 16)
    assert (output.distances >= 0).all()
    assert output.score_logits.shape == (2, 9, 13)
    assert output.offsets.shape == (2, 9, 13, 2)
    gkcmn_losses(output, inputs, target, config).total.backward()
    still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []


def test_baseline_trains_all_weights_and_perfect_output_has_almost_no_loss() -> None:
    config = dataclasses.replace(SMALL, architecture="baseline")
    torch.manual_seed(0)
    model = Baseline(config)
    inputs, target = make_inputs([9, 6], [4, 5]), make_target(2, 9)
    output = model(inputs)
    assert (output.boxes.shape, output.ends.shape) == ((2, 9, 4), (2, 9, 2))
    model.losses(output, inputs, target).total.backward()
    still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == []

    low, high = target.boxes.split(2, dim=-1)
    ends = torch.full((2, 9, 2), -torch.inf)
    ends[:, 1, 0] = ends[:, 3, 1] = 0.0  # the span is 1.2 to 3.9
    perfect = BaselineOutput(boxes=torch.cat([(low + high) / 2, high - low], dim=-1).logit(), ends=ends)
    losses = model.losses(perfect, inputs, target)
    assert losses.total.item() == pytest.approx(0, abs=1e-4)
    answer = model.answer(perfect, inputs.step_mask.sum(dim=1))
    assert answer.spans.tolist() == [[1, 4], [1, 4]]
    assert torch.allclose(answer.boxes, target.boxes, atol=1e-5)
    assert answer.scores.tolist() == pytest.approx([1, 1])


def test_locating_some_time_steps_matches_locating_all() -> None:
    torch.manual_seed(0)
    model = Gkcmn(SMALL).eval()
    inputs = make_inputs([9, 6], [4, 5])
    located = torch.rand(2, 9, generator=torch.Generator().manual_seed(0)) < 0.4
    with torch.no_grad():
        some, whole = model(inputs, located), model(inputs)
    for name in ("heatmap_logits", "distances"):
        assert torch.allclose(getattr(some, name)[located], getattr(whole, name)[located], atol=1e-5)
        assert not getattr(some, name)[~located].any()


def test_sentence_changes_the_output() -> None:
    torch.manual_seed(0)
    model = Gkcmn(SMALL).eval()
    inputs = make_inputs([6], [4])
    other = dataclasses.replace(inputs, words=-inputs.words)
    assert not torch.allclose(model(inputs).heatmap_logits, model(other).heatmap_logits, atol=1e-4)


# Losses


def test_focal_loss_matches_hand_computed_values() -> None:
    config = ModelConfig()
    logits = torch.tensor([0.0, 1.0, -2.0])
    heat = torch.tensor([1.0, 0.85, 0.5])
    p = torch.sigmoid(logits)
    expected = [
        -((1 - p[0]) ** 2) * p[0].log(),
        -((1 - p[1]) ** 2) * p[1].log(),
        -((1 - 0.5) ** 4) * p[2] ** 2 * (1 - p[2]).log(),
    ]
    assert focal_terms(logits, heat, config).tolist() == pytest.approx([term.item() for term in expected])
    extreme = focal_terms(torch.tensor([-500.0, 500.0]), torch.tensor([1.0, 0.0]), config)
    assert torch.isfinite(extreme).all()


def step_logits(spans: torch.Tensor, steps: int) -> torch.Tensor:
    """Time step logits of a perfect prediction."""
    first, last = (torch.arange(steps) == end for end in (spans[:, :1].floor(), spans[:, 1:].ceil() - 1))
    return torch.where(torch.stack([inside_steps(spans, steps), first, last], dim=2), 30.0, -30.0)


def perfect_output(target: ModelTarget, steps: int) -> ModelOutput:
    """A perfect output: true boxes, the true IoU and offsets of all proposals, and true time step logits."""
    config = SMALL
    scaled = target.boxes[:, :, None, None] * 16
    grid = cell_centres(16)
    spans, _ = candidate_spans(torch.full((len(target.span),), steps), steps, config.candidate_widths)
    truth = target.span[:, None, None]
    iou = span_iou(spans, truth)
    heat = heatmap_targets(target.boxes, size=16, sigma=config.sigma)
    return ModelOutput(
        heatmap_logits=torch.where(heat > config.focal_gamma, 30.0, -30.0),
        distances=torch.cat([grid - scaled[..., :2], scaled[..., 2:] - grid], -1).movedim(-1, 2),
        score_logits=torch.logit(torch.where(iou >= 0.3, iou, 0.0), eps=1e-7),
        offsets=truth - spans,
        step_logits=step_logits(target.span, steps),
        gaze=torch.where(cells_inside(target.boxes, 7).flatten(-2), 0.0, -30.0),
    )


@pytest.mark.parametrize("beyond", [False, True])
def test_perfect_output_has_no_loss(beyond: bool) -> None:
    config = dataclasses.replace(SMALL, **BEYOND) if beyond else SMALL
    inputs, target = make_inputs([9, 9], [4, 4]), make_target(2, 9)
    output = perfect_output(target, 9)
    if beyond:  # a cell's weight is a share: all of it on one cell in the box
        best = output.gaze.argmax(dim=-1, keepdim=True)
        output = dataclasses.replace(output, gaze=torch.full_like(output.gaze, -30.0).scatter(-1, best, 0.0))
    losses = gkcmn_losses(output, inputs, target, config)
    assert list(losses.parts) == ["location", "size", "confidence", "boundary"]
    for name, part in {**losses.parts, "total": losses.total}.items():
        assert part.item() == pytest.approx(0, abs=1e-5), name


def test_pooling_outside_the_box_increases_the_loss() -> None:
    config = dataclasses.replace(SMALL, **BEYOND)
    inputs, target = make_inputs([9, 9], [4, 4]), make_target(2, 9)
    output = perfect_output(target, 9)
    blind = dataclasses.replace(output, gaze=torch.full_like(output.gaze, -math.log(49)))
    assert gkcmn_losses(blind, inputs, target, config).parts["location"] > 0.1
    assert gkcmn_losses(blind, inputs, target, SMALL).parts["location"] == pytest.approx(0, abs=1e-5)


def test_likely_span_has_the_highest_expected_overlap() -> None:
    truth, lengths = torch.tensor([[2.0, 5], [0, 3]]), torch.tensor([7, 4])
    sure = step_logits(truth, 8)
    sure[1, 4:] = 40  # beyond the sample
    spans, scores = likely_spans(sure, lengths)
    assert torch.equal(spans, truth)
    assert torch.allclose(scores, torch.ones(2), atol=1e-5)
    # Of three likely ends the middle one is selected, although another one is more likely.
    ends = torch.full((1, 20, 3), -9.0)
    ends[0, 2, 1], ends[0, [8, 11, 14], 2] = 9, torch.tensor([1.0, 0.9, 1.0])
    ends[0, 2:12, 0] = 0
    assert likely_spans(ends, torch.tensor([20]))[0].tolist() == [[2, 12]]


def test_span_is_valid_if_all_probabilities_are_low() -> None:
    for length in (1, 5):
        ((start, end),), (score,) = likely_spans(torch.full((1, 9, 3), -8.0), torch.tensor([length]))
        assert 0 <= start < end <= length
        assert 0 < score <= 1
    last_first = torch.full((1, 9, 3), -8.0)
    last_first[0, 7, 1] = last_first[0, 2, 2] = 30  # the first step after the last
    ((start, end),), _ = likely_spans(last_first, torch.tensor([9]))
    assert 0 <= start < end <= 9


def test_logits_of_padded_time_steps_do_not_change_the_loss() -> None:
    spans, lengths = torch.tensor([[1.3, 4.5], [0.0, 3.0]]), torch.tensor([9, 3])
    said = torch.randn(2, 9, 3)
    padded = torch.cat([said, torch.full((2, 4, 3), 7.0)], dim=1)
    padded[1, 3:] = 11
    assert torch.allclose(step_entropy(said, spans, torch.tensor([9, 9]))[0], step_entropy(padded, spans, lengths)[0])
    assert torch.allclose(step_entropy(said[1:, :3], spans[1:], lengths[1:]), step_entropy(padded, spans, lengths)[1:])


def test_losses_ignore_padding_and_unlabeled_time_steps() -> None:
    target = make_target(1, 9)
    output = Gkcmn(SMALL)(make_inputs([9], [4]))
    spatial = spatial_losses(output, target, SMALL)
    elsewhere = torch.where(target.box_mask[..., None], target.boxes, torch.rand(1, 9, 4))
    again = spatial_losses(output, dataclasses.replace(target, boxes=elsewhere), SMALL)
    assert torch.equal(torch.stack(spatial), torch.stack(again))
    longer = ModelOutput(
        **{
            field.name: torch.cat([getattr(output, field.name), getattr(output, field.name)[:, :3]], dim=1)
            for field in dataclasses.fields(ModelOutput)
        }
    )
    short = temporal_losses(output, torch.tensor([9]), target, SMALL)
    assert torch.allclose(torch.stack(short), torch.stack(temporal_losses(longer, torch.tensor([9]), target, SMALL)))


def test_total_loss_is_weighted() -> None:
    inputs, target = make_inputs([9], [4]), make_target(1, 9)
    losses = gkcmn_losses(Gkcmn(SMALL)(inputs), inputs, target, SMALL)
    location, size, confidence, boundary = losses.parts.values()
    parts = 1.0 * location + 2.0 * size + 0.2 * confidence + 0.1 * boundary
    assert losses.total.item() == pytest.approx(parts.item(), rel=1e-5)


def test_config_rejects_invalid_values() -> None:
    for change in (
        {"sigma": 0.0},
        {"heatmap_size": 3},
        {"fused_width": 33},
        {"dropout": 1.0},
        {"max_steps": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("beyond", [{}, BEYOND, {"architecture": "baseline"}])
def test_sharing_a_video_does_not_change_outputs(beyond: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, **beyond)
    torch.manual_seed(0)
    model = build_model(config).eval()
    apart = make_inputs([9, 9, 9], [7, 3, 4])
    apart = dataclasses.replace(apart, features=apart.features[[0, 1, 0]])
    shared = dataclasses.replace(apart, features=apart.features[:2], video=torch.tensor([0, 1, 0]))
    with torch.no_grad():
        expected, found = model(apart), model(shared)
    for field in dataclasses.fields(expected):
        assert torch.allclose(getattr(found, field.name), getattr(expected, field.name), atol=1e-5), field.name
    # The words affect all outputs.
    first, third = (getattr(found, dataclasses.fields(found)[0].name)[index] for index in (0, 2))
    assert not torch.allclose(first, third, atol=1e-4)


def test_path_skips_a_peak_on_another_object() -> None:
    size, steps = 16, 5
    logits = torch.full((1, steps, size, size), -8.0)
    logits[0, :, 4, 4] = 2.0
    logits[0, 2, 12, 12] = 2.5  # one step prefers what stands elsewhere
    distances = torch.full((1, steps, 4, size, size), 1.5)
    there = decode_boxes(distances)[0, 0, 4, 4]
    peaks = peak_boxes(logits, distances)
    assert not torch.allclose(peaks[0, 2], there)
    assert torch.allclose(path_boxes(logits, distances, torch.tensor([[0.0, 5.0]]))[0], there.expand(steps, 4))
    # Time steps outside the span do not contribute, so time step 2 alone keeps its own peak.
    assert torch.allclose(path_boxes(logits, distances, torch.tensor([[2.0, 3.0]]))[0, 2], peaks[0, 2])
