"""Stage 2: features -> compressor and codes."""

from autoencoder.stage import AutoencoderConfig, train_autoencoder
from workspace import command_line

if __name__ == "__main__":
    command_line.run(train_autoencoder, AutoencoderConfig)
