"""Ask a scene in plain words: relevancy, masks and points in its views, figures against ground truth, and a report."""

from workspace.command_line import run  # first: it decides how threads wait

# isort: split
from evaluation.stage import QueryConfig, eval_query

if __name__ == "__main__":
    run(eval_query, QueryConfig)
