"""Stage 2: features -> compressor and codes."""

import command_line
from autoencoder.stage import AutoencoderConfig, train_autoencoder

if __name__ == "__main__":
    command_line.run(train_autoencoder, AutoencoderConfig)
