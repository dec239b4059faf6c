"""Ask a scene in plain words: relevancy, masks and points in its views, figures against ground truth, and a report."""

from command_line import run
from evaluation.query import QueryConfig, eval_query

if __name__ == "__main__":
    run(eval_query, QueryConfig)
