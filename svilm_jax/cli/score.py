"""The `svilm score` command: scores prediction files in published formats, without a model."""

import argparse
import json
from pathlib import Path
from typing import Any

from svilm_jax.evaluation.localization.scores import score_localization
from svilm_jax.evaluation.question_answering.scores import score_question_answering
from svilm_jax.evaluation.retrieval.dual_softmax import TEMPERATURE
from svilm_jax.evaluation.retrieval.scores import score_retrieval

_EXAMPLES = """examples:
  svilm score retrieval --predictions similarity.npy
  svilm score retrieval --ground-truth video_of_caption.json --predictions similarity.npy --dual-softmax
  svilm score qa --ground-truth test_qa.json --train train_qa.json --predictions answers.json
  svilm score localization --ground-truth activity_net.v1-3.min.json --predictions submission.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `svilm score`: one subcommand per task."""
    parser.epilog, parser.formatter_class = _EXAMPLES, argparse.RawDescriptionHelpFormatter
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")

    def add(name: str, help: str, description: str, example: str, score: Any) -> argparse.ArgumentParser:
        task = tasks.add_parser(name, help=help, description=description, epilog=f"example: svilm score {example}")
        task.set_defaults(score=score)
        return task

    retrieval = add(
        "retrieval",
        "recall at 1, 5 and 10, median and mean rank, both directions",
        "Recall in percent; ranks count from 1. Ties count against the model. Of several correct items the best one "
        "counts and the others leave the gallery. A video without a caption is in the gallery, but not a query.",
        "retrieval --predictions similarity.npy",
        _retrieval,
    )
    retrieval.add_argument(
        "--predictions", type=Path, required=True, metavar="FILE", help="similarity, float [captions, videos], .npy"
    )
    retrieval.add_argument(
        "--ground-truth",
        type=Path,
        metavar="FILE",
        help="the video of each caption: .npy of int [captions] or bool [captions, videos], or a JSON list of indices "
        "or of lists of indices (default: the diagonal of a square matrix)",
    )
    retrieval.add_argument(
        "--dual-softmax",
        type=float,
        nargs="?",
        const=TEMPERATURE,
        metavar="TEMPERATURE",
        help="add results reranked by dual softmax (arXiv 2109.04290), which uses all test queries at once "
        f"(default temperature: {TEMPERATURE}, for cosines)",
    )

    qa = add(
        "qa",
        "accuracy of answers, over all questions and by kind",
        "Accuracy in percent over the whole ground truth: a question without a prediction is wrong. An answer is "
        "correct if it is the same string.",
        "qa --ground-truth test_qa.json --train train_qa.json --predictions answers.json",
        _question_answering,
    )
    qa.add_argument(
        "--ground-truth",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON of MSVD-QA, MSRVTT-QA or ActivityNet-QA, or JSON lines named .jsonl",
    )
    qa.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON, {id: answer} or [{"question_id": id, "answer": answer}]',
    )
    qa.add_argument("--train", type=Path, metavar="FILE", help="training answers, the answer vocabulary")
    qa.add_argument("--questions", type=Path, metavar="FILE", help="ActivityNet-QA's questions: types by first word")

    localization = add(
        "localization",
        "ActivityNet's mean average precision",
        "Mean average precision in percent at overlaps of 0.5 to 0.95 and their mean, by the official definition.",
        "localization --ground-truth activity_net.v1-3.min.json --predictions submission.json",
        _localization,
    )
    localization.add_argument(
        "--ground-truth", type=Path, required=True, metavar="FILE", help="ActivityNet's annotations, JSON"
    )
    localization.add_argument(
        "--predictions", type=Path, required=True, metavar="FILE", help="a submission in the challenge's JSON format"
    )
    localization.add_argument("--subset", default="validation", help="subset of the ground truth (default: validation)")
    localization.add_argument("--blocked", type=Path, metavar="FILE", help="JSON list of ids of videos to leave out")


def run(args: argparse.Namespace) -> None:
    """Prints the metrics as one JSON object.

    Raises:
      ScoreError: files that cannot be scored.
    """
    print(json.dumps({"task": args.task, **args.score(args)}, indent=2, allow_nan=False))


def _retrieval(args: argparse.Namespace) -> dict[str, Any]:
    return score_retrieval(args.predictions, args.ground_truth, args.dual_softmax)


def _question_answering(args: argparse.Namespace) -> dict[str, Any]:
    return score_question_answering(args.predictions, args.ground_truth, args.train, args.questions)


def _localization(args: argparse.Namespace) -> dict[str, Any]:
    return score_localization(args.predictions, args.ground_truth, args.subset, args.blocked)
