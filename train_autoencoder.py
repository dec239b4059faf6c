"""Stage 2: features -> compressor and codes."""

from workspace import command_line  # first: it decides how threads wait

# isort: split
from autoencoder.config import AutoencoderConfig
from autoencoder.stage import train_autoencoder

if __name__ == "__main__":
    command_line.run(train_autoencoder, AutoencoderConfig)
