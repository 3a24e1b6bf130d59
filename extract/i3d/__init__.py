"""The I3D backbone: clips in, feature maps out."""
