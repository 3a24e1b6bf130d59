"""GKCMN: the Gaussian Kernel-based Cross Modal Network for spatio-temporal video grounding."""

from __future__ import annotations

from torch import Tensor, nn

from model.config import ModelConfig
from model.encoders import CrossModalInteraction, SentenceEncoder, VideoEncoder
from model.io import ModelInput, ModelOutput
from model.mixed import MixedNetwork
from model.spatial_head import SpatialHead
from model.temporal_head import TemporalHead


class Gkcmn(nn.Module):
    """A video's feature maps and a sentence in; heatmaps, box sizes and scored candidates out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
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
        sentence = self.sentence(inputs.words, inputs.word_mask)
        mixed = self.mixed(self.interaction(video, sentence), inputs.step_mask)
        heatmap_logits, distances = self.spatial(mixed, located)
        score_logits, offsets = self.temporal(mixed, sentence, inputs.step_mask)
        return ModelOutput(
            heatmap_logits=heatmap_logits, distances=distances, score_logits=score_logits, offsets=offsets
        )
