"""Any time after stage 3: a language field as one array of embeddings, one for each Gaussian."""

from workspace import command_line  # first: it decides how threads wait

# isort: split
from training.export import ExportConfig, export_features

if __name__ == "__main__":
    command_line.run(export_features, ExportConfig)
