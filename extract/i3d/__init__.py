"""The I3D backbones, which compute feature maps of clips."""
