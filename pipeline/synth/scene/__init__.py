"""Sample a scene: who acts, when, where, and how the camera moves."""
