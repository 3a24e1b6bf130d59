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
    """A video's feature maps and a sentence in; heatmaps, box sizes and scored candidates out."""

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
            located: bool (B, T), the steps whose heatmaps and sizes are wanted; None is all of them. In
                training only annotated steps are, which spares most of the spatial head's work.
        """
        video = self.video(inputs.features)
        states, sentence = self.sentence(inputs.words, inputs.word_mask)
        fused = self.interaction(video, inputs.video, states, inputs.word_mask, sentence)
        mixed = self.mixed(fused, inputs.step_mask)
        heatmap_logits, distances = self.spatial(mixed, located)
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
        """Eq. 6 to 10."""
        return gkcmn_losses(output, inputs, target, self.config)

    def answer(self, output: ModelOutput, lengths: Tensor, spans: Tensor | None = None) -> Answer:
        """The best candidate, moved by its offsets, and the box at each heatmap's peak, or on the best path."""
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
