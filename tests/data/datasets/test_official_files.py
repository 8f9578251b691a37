"""Tests of the official files of all datasets: published counts, notes, and clips of one source next to each other."""

import pytest

from tests.data.official_cases import counts, wrong

SPLITS = {f"{part}{k}": number for k in "123" for part, number in (("train", 3570), ("test", 1530))}
HMDB51 = {"classes": 51, "clips": 6766, **SPLITS}
ACTIVITYNET = {
    "train videos": 10_024,
    "validation videos": 4926,
    "test videos": 5044,
    "train segments": 15_410,
    "validation segments": 7654,
    "classes": 200,
}
# (dataset, format, arguments), all counts
COUNTS = [
    (
        ("ucf101", "", {}),
        {
            "classes": 101,
            "clips": 13_320,
            "train1": 9537,
            "test1": 3783,
            "train2": 9586,
            "test2": 3734,
            "train3": 9624,
            "test3": 3696,
        },
    ),
    (("hmdb51", "", {}), HMDB51),
    (("activitynet", "derived", {"release": "1.3"}), ACTIVITYNET),
    (("activitynet", "tsp", {"release": "1.3"}), ACTIVITYNET),
    (
        ("activitynet", "bsn", {"release": "1.3"}),  # without the videos that were gone
        {
            "train videos": 9649,
            "validation videos": 4728,
            "test videos": 4851,
            "train segments": 14_859,
            "validation segments": 7293,
            "classes": 200,
        },
    ),
    (
        ("activitynet", "", {"release": "1.2"}),  # without the videos that were gone
        {
            "train videos": 4441,
            "validation videos": 2198,
            "test videos": 2268,
            "train segments": 6588,
            "validation segments": 3281,
            "classes": 100,
        },
    ),
    (
        ("activitynet_captions", "", {}),
        {
            "train videos": 10_009,
            "train sentences": 37_421,
            "val_1 videos": 4917,
            "val_1 sentences": 17_505,
            "val_2 videos": 4885,
            "val_2 sentences": 17_031,
        },
    ),
    (
        ("charades_sta", "", {}),
        {"train videos": 5338, "train sentences": 12_408, "test videos": 1334, "test sentences": 3720},
    ),
    (
        ("didemo", "", {}),
        {
            "validation videos": 1065,
            "validation descriptions": 4180,
            "test videos": 1004,
            "test descriptions": 4021,
        },
    ),
    (("tvr", "", {}), {"validation videos": 2179, "validation queries": 10_895, "test_public queries": 5445}),
    (("violin", "", {}), {"test videos": 1600, "test statements": 9600}),
    (("tvqa", "", {"plus": False}), {"test_public videos": 1089, "test_public questions": 7623}),
    (("tvqa", "", {"plus": True}), {"validation videos": 431, "validation questions": 3017}),
    (
        ("msvd", "", {}),
        {
            "videos": 1970,
            "train videos": 1200,
            "validation videos": 100,
            "test videos": 670,
            "captions": 80_827,
            "train captions": 48_774,
            "validation captions": 4290,
            "test captions": 27_763,
        },
    ),
    (
        ("msrvtt", "", {}),
        {
            "videos": 10_000,
            "captions": 200_000,
            "sources": 7180,
            "train videos": 6513,
            "train captions": 130_260,
            "validation videos": 497,
            "validation captions": 9940,
            "test videos": 2990,
            "test captions": 59_800,
            "train_7k videos": 7010,
            "train_9k videos": 9000,
            "test_1ka videos": 1000,
        },
    ),
]
# Datasets of questions, which also count every kind of question: (dataset, questions and videos of every split)
QUESTIONS = [
    ("msvd_qa", {"train": (30_933, 1161), "validation": (6415, 245), "test": (13_157, 504)}),
    ("msrvtt_qa", {"validation": (12_278, 497), "test": (72_821, 2990)}),  # the training file is not held
    ("activitynet_qa", {"validation": (18_000, 1800), "test": (8000, 800)}),
]
NOTES = {
    "hmdb51": {"clips that no split uses": "395; stored, in no view"},
    "tvr": {
        "not found": "tvr_train_release.jsonl",
        "validation: queries by type": "video only 8,097, subtitles only 964, video and subtitles 1,834",
        "test_public: queries without a clip": "5,445; not stored, since they name no video",
    },
    "violin": {
        "not found": "violin_train_release.jsonl, violin_val_release.jsonl",
        "test: true statements": "4,800",
        "test: statements repeated for the same clip": "15; kept",
    },
    "didemo": {
        "not found": "train_data.json",
        # 1,094 and 1,037 names are in the files; the published counts are of videos.
        "validation: videos named with several file endings": "29; one video each",
        "test: videos named with several file endings": "33; one video each",
    },
    "charades_sta": {
        "train: durations": "not checked; Charades_v1_train.csv not found",
        "train: segments that end before they start": "4; start and end swapped",
        "test: segments that end after the stated duration": "562; kept",
    },
    "tvqa": {
        "not found": "tvqa_train.jsonl, tvqa_val.jsonl",
        "test_public: questions without an answer": "7,623; stored with an empty answer",
    },
}
# Splits whose clips of one film, show or group are adjacent, and the number of these where it is published.
GROUPED = [("ucf101", "videos", 101 * 25), ("hmdb51", "videos", None), ("tvr", "validation", None)]
GROUPED += [("msrvtt", split, None) for split in ("train", "validation", "test")]


@pytest.mark.parametrize(("source", "expected"), COUNTS, ids=[f"{s[0]}-{i}" for i, (s, _) in enumerate(COUNTS)])
def test_counts_are_the_published_ones(read_official, source, expected):
    name, form, arguments = source
    made = read_official(name, form, **arguments)
    assert wrong(made) == {}
    assert counts(made) == expected


@pytest.mark.parametrize(("name", "expected"), QUESTIONS)
def test_counts_of_questions_are_the_published_ones(read_official, name, expected):
    made = read_official(name)
    assert wrong(made) == {}
    assert {split: len(videos) for split, videos in made.splits.items()} == {s: n for s, (_, n) in expected.items()}
    found = counts(made)
    assert {split: (found[f"{split} questions"], found[f"{split} videos"]) for split in made.splits} == expected


@pytest.mark.parametrize("name", NOTES)
def test_what_is_odd_in_the_files_is_noted(read_official, name):
    assert read_official(name, **({"plus": False} if name == "tvqa" else {})).notes == NOTES[name]


@pytest.mark.parametrize(("name", "split", "number"), GROUPED)
def test_clips_of_one_source_are_adjacent(read_official, name, split, number):
    groups = [wanted.record.group for wanted in read_official(name).splits[split]]
    assert all(groups)
    changes = sum(a != b for a, b in zip(groups, groups[1:], strict=False))
    assert changes + 1 == len(set(groups))
    assert number in (None, len(set(groups)))
