"""What a machine can run, what a scene would cost on it, and whether its weights know what pictures hold."""
