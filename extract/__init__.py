"""Raw media and text in, arrays out: decoding, I3D features, query vectors and the store that holds them."""
