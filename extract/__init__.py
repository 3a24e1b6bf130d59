"""Feature extraction: video decoding, I3D features, query vectors and the feature store."""
