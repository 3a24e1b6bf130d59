"""GKCMN: the Gaussian Kernel-based Cross Modal Network for spatio-temporal video grounding."""

from __future__ import annotations

from torch import Tensor

from model.base import Answer, Grounder, Losses
from model.box_linking import path_boxes
from model.config import ModelConfig
from model.encoders import CrossModalInteraction, SentenceEncoder, VideoEncoder
from model.heatmaps import peak_boxes
from model.inputs import ModelInput, ModelOutput, ModelTarget
from model.losses import gkcmn_losses
from model.mixed import MixedNetwork
from model.proposals import best_spans
from model.span_decoding import likely_spans
from model.spatial_head import SpatialHead
from model.temporal_head import TemporalHead


class Gkcmn(Grounder[ModelOutput]):
    """Feature maps and a query in; heatmaps, box distances and scored proposals out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.video = VideoEncoder(config)
        self.sentence = SentenceEncoder(config)
        self.interaction = CrossModalInteraction(config)
        self.mixed = MixedNetwork(config)
        self.spatial = SpatialHead(config)
        self.temporal = TemporalHead(config)

    def forward(self, inputs: ModelInput, located: Tensor | None = None) -> ModelOutput:
        """Run the network.

        Args:
            inputs: a padded batch.
            located: bool (B, T), the time steps whose heatmaps and distances are needed; None means all. Training
                needs only the annotated time steps, which saves most of the spatial head's work.
        """
        video = self.video(inputs.features)  # (V, d, T, 7, 7)
        states, sentence = self.sentence(inputs.words, inputs.word_mask)  # (B, N, D), (B, D)
        # F_f2: (B, D', T, 7, 7)
        fused = self.interaction(video, inputs.video, states, inputs.word_mask, sentence)
        mixed = self.mixed(fused, inputs.step_mask)  # M_mix: (B, D', T, 7, 7)
        heatmap_logits, distances = self.spatial(mixed, located)  # (B, T, L, L), (B, T, 4, L, L)
        score_logits, offsets, step_logits, gaze = self.temporal(mixed, sentence, inputs.step_mask)
        return ModelOutput(
            heatmap_logits=heatmap_logits,
            distances=distances,
            score_logits=score_logits,
            offsets=offsets,
            step_logits=step_logits,
            gaze=gaze,
        )

    def losses(self, output: ModelOutput, inputs: ModelInput, target: ModelTarget) -> Losses:
        """Compute the four losses (Eq. 6 to 9) and their weighted sum (Eq. 10)."""
        return gkcmn_losses(output, inputs, target, self.config)

    def answer(self, output: ModelOutput, lengths: Tensor, spans: Tensor | None = None) -> Answer:
        """Decode spans and boxes.

        The paper's model takes the best proposal, shifted by its offsets, and the box at each heatmap's peak. With
        `span_choice` "steps" the span has the highest expected tIoU, and with `box_choice` "path" the boxes are linked.
        """
        if self.config.span_choice == "steps":
            found, scores = likely_spans(output.step_logits, lengths)
        else:
            found, scores = best_spans(output.score_logits, output.offsets, lengths, self.config.candidate_widths)
        spans = found if spans is None else spans
        if self.config.box_choice == "path":
            boxes = path_boxes(output.heatmap_logits, output.distances, spans)
        else:
            boxes = peak_boxes(output.heatmap_logits, output.distances)
        return Answer(spans=spans, scores=scores, boxes=boxes)
