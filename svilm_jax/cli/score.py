"""The `svilm score` command: scores prediction files and prints one JSON object to stdout.

It reads the published file formats and needs no model, so that anyone can compare these metrics with other
implementations.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from svilm_jax.evaluation.localization.metrics import detection_average_precision
from svilm_jax.evaluation.localization.published_files import read_blocked, read_ground_truth, read_submission
from svilm_jax.evaluation.question_answering import metrics
from svilm_jax.evaluation.question_answering.published_files import read_answers, read_predictions, read_questions
from svilm_jax.evaluation.retrieval.dual_softmax import TEMPERATURE, dual_softmax
from svilm_jax.evaluation.retrieval.metrics import chance_metrics, pessimistic_ranks, recall_metrics
from svilm_jax.evaluation.score_files import ScoreError, read_array, read_json, rows

_EXAMPLES = """examples:
  svilm score retrieval --predictions similarity.npy
  svilm score retrieval --ground-truth video_of_caption.json --predictions similarity.npy --dual-softmax
  svilm score qa --ground-truth test_qa.json --train train_qa.json --predictions metrics.json
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
        score_retrieval,
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
        "qa --ground-truth test_qa.json --train train_qa.json --predictions metrics.json",
        score_qa,
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
        score_localization,
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
      ScoreError: a user error.
    """
    print(json.dumps({"task": args.task, **args.score(args)}, indent=2, allow_nan=False))


def score_retrieval(args: argparse.Namespace) -> dict[str, Any]:
    """Scores a similarity matrix: {"t2v": ..., "v2t": ...} and, if requested, the transductive results."""
    similarity = read_array(args.predictions)
    if similarity.ndim != 2 or similarity.dtype.kind not in "fiu" or not similarity.size:
        raise ScoreError(
            f"{args.predictions}: expected numbers [captions, videos], found {similarity.dtype} "
            f"[{', '.join(map(str, similarity.shape))}]"
        )
    if similarity.dtype.kind != "f" or similarity.dtype.itemsize < 4:
        similarity = similarity.astype(np.float64)  # every smaller kind of number fits; no new ties, no overflow
    if not np.isfinite(similarity).all():
        raise ScoreError(f"{args.predictions}: similarities that are NaN or infinite")
    positives = _positives(args.ground_truth, similarity.shape, args.predictions)
    found: dict[str, Any] = {"recall": "percent", **_both_directions(similarity, similarity.T, positives)}
    for direction, right in (("t2v", positives), ("v2t", _askable(positives.T))):
        found[direction]["chance"] = _plain(chance_metrics(right, ""), ending="_chance")
    if args.dual_softmax is not None:
        try:
            t2v, v2t = (dual_softmax(side, args.dual_softmax) for side in (similarity, similarity.T))
        except ValueError as error:
            raise ScoreError(f"--dual-softmax: {error}") from error
        found["transductive_dual_softmax"] = {
            "temperature": args.dual_softmax,
            **_both_directions(t2v, v2t, positives),
        }
    return found


def score_qa(args: argparse.Namespace) -> dict[str, Any]:
    """Scores answers: {"accuracy": ..., "by_kind": ...} and counts."""
    questions = read_questions(args.ground_truth, args.questions)
    predictions = read_predictions(args.predictions)
    if unknown := sorted(predictions.keys() - {question.id for question in questions}):
        raise ScoreError(
            f"{args.predictions}: {len(unknown)} of {len(predictions)} ids are not in {args.ground_truth}, the first "
            f"is {unknown[0]!r}; there, the first is {questions[0].id!r}"
        )
    right = [question.answer for question in questions]
    predicted = [predictions.get(question.id) for question in questions]
    by_kind = metrics.accuracy_by_kind(right, predicted, [question.kind or "unknown" for question in questions])
    found: dict[str, Any] = {
        "accuracy": 100 * metrics.accuracy(right, predicted),
        "by_kind": {kind: {"accuracy": 100 * value, "questions": n} for kind, (value, n) in by_kind.items()},
        "unit": "percent",
        "questions": len(questions),
        "without_prediction": sum(answer is None for answer in predicted),
    }
    if args.train:
        known = set(read_answers(args.train))
        found["train_answers"] = len(known)
        found["out_of_vocabulary"] = 100 * metrics.out_of_vocabulary_fraction(right, known)
    return found


def score_localization(args: argparse.Namespace) -> dict[str, Any]:
    """Scores a submission: {"mAP": {threshold: ...}, "average_mAP": ...} and counts."""
    blocked = read_blocked(args.blocked) if args.blocked else frozenset()
    truth = read_ground_truth(args.ground_truth, args.subset, blocked)
    predictions = read_submission(args.predictions, blocked)
    videos = set(truth.videos.tolist())
    predicted = set(predictions.videos.tolist())
    if predicted and not predicted & videos:
        raise ScoreError(
            f"{args.predictions}: none of its {len(predicted)} videos is in subset {args.subset!r} of "
            f"{args.ground_truth}; the first is {str(predictions.videos[0])!r}, there it is {str(truth.videos[0])!r}"
        )
    result = detection_average_precision(truth, predictions)
    by_threshold = zip(result.thresholds, result.mean_average_precision, strict=True)
    return {
        "average_mAP": 100 * result.average,
        "mAP": {f"{threshold:.2f}": 100 * float(value) for threshold, value in by_threshold},
        "unit": "percent",
        "subset": args.subset,
        "segments": len(truth),
        "videos": len(videos),
        "classes": len(result.labels),
        "classes_without_prediction": result.without_predictions,
        "predictions": len(predictions),
        "videos_without_prediction": len(videos - predicted),
        "predictions_in_other_videos": int(np.isin(predictions.videos, list(videos), invert=True).sum()),
        "predictions_of_unknown_label": sum(result.unknown_labels.values()),
        "predictions_of_tied_score": result.tied_scores,
    }


def _positives(path: Path | None, shape: tuple[int, int], predictions: Path) -> np.ndarray:
    """Reads bool [captions, videos] from a ground-truth file, or returns the diagonal."""
    queries, items = shape
    if path is None:
        if queries != items:
            raise ScoreError(
                f"{predictions}: {queries} captions and {items} videos: not a square matrix; give --ground-truth"
            )
        return np.eye(queries, dtype=bool)
    given = read_array(path) if path.suffix == ".npy" else rows(read_json(path), f"{path}")
    if isinstance(given, np.ndarray) and given.dtype == bool:
        if given.shape != shape:
            raise ScoreError(f"{path}: {list(given.shape)}, but the similarities are {list(shape)}")
        positives = given
    else:
        if isinstance(given, np.ndarray) and (given.dtype.kind not in "iu" or given.ndim != 1):
            raise ScoreError(f"{path}: expected int [captions] or bool [captions, videos], found {given.dtype}")
        if len(given) != queries:
            raise ScoreError(f"{path}: {len(given)} entries, but {predictions} has {queries} captions")
        positives = np.zeros(shape, bool)
        for query, entry in enumerate(given.tolist() if isinstance(given, np.ndarray) else given):
            for item in entry if isinstance(entry, list) else [entry]:
                # A bool is an int to Python; in a list of lists it would be taken for index 0 or 1.
                if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < items:
                    raise ScoreError(f"{path}: entry {query}: expected indices from 0 to {items - 1}, found {item!r}")
                positives[query, item] = True
    orphans = np.flatnonzero(~positives.any(axis=1))
    if len(orphans):
        raise ScoreError(f"{path}: {len(orphans)} captions have no video, the first is {orphans[0]}")
    return positives


def _both_directions(text_to_video: np.ndarray, video_to_text: np.ndarray, positives: np.ndarray) -> dict[str, Any]:
    asking = positives.any(axis=0)
    found = {}
    for direction, side, right in (
        ("t2v", text_to_video, positives),
        ("v2t", video_to_text[asking], _askable(positives.T)),
    ):
        metrics = _plain(recall_metrics(pessimistic_ranks(side, right), ""))
        found[direction] = {**metrics, "queries": side.shape[0], "items": side.shape[1]}
    return found


def _askable(positives: np.ndarray) -> np.ndarray:
    """Returns the rows with a correct item: a video without a caption is not a query."""
    return positives[positives.any(axis=1)]


def _plain(metrics: dict[str, float], ending: str = "") -> dict[str, float]:
    """`_R1` -> `R1` in percent, `_MedR` -> `MedR`, without the ending."""
    names = {name.removeprefix("_").removesuffix(ending): value for name, value in metrics.items()}
    return {name: value if name in ("MedR", "MeanR") else 100 * value for name, value in names.items()}
