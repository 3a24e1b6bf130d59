"""Sample a scene: actors, their actions and positions, and the motion of the camera."""
