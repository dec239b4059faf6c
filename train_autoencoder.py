"""Stage 2: features -> compressor and codes."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder

if __name__ == "__main__":
    command_line.run(train_autoencoder, AutoencoderConfig)
