"""Stage 5: text queries -> relevancy, masks and points in a scene's views, metrics against ground truth, and a report."""

from workspace.command_line import run  # imported first: it sets how idle threads wait

# isort: split
from evaluation.stage import QueryConfig, eval_query

if __name__ == "__main__":
    run(eval_query, QueryConfig)
