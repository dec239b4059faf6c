"""The browser viewer: a trained scene to look around and ask in, and the same answers over HTTP."""
