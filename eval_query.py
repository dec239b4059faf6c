"""Ask a scene in plain words: relevancy, masks and points in its views, figures against ground truth, and a report."""

from evaluation.stage import QueryConfig, eval_query
from workspace.command_line import run

if __name__ == "__main__":
    run(eval_query, QueryConfig)
