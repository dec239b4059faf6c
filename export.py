"""Any time after stage 3: language field -> one array with an embedding for each Gaussian."""

from workspace import command_line  # imported first: it sets how idle threads wait

# isort: split
from training.export import ExportConfig, export_features

if __name__ == "__main__":
    command_line.run(export_features, ExportConfig)
