"""Tests of tokenization: ids by the vocabulary, with first token, end token and padding in place."""

import pickle

import numpy as np
import pytest
import sentencepiece

from svilm_jax.text.tokenizers import (
    SentencePieceTokenizer,
    TokenizerError,
    WordPieceTokenizer,
    load_tokenizer,
    tokenizer_from_files,
)

VOCABULARY = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "square", "##s", "slide", ","]) + "\n"
SENTENCES = ["a red square slides left over a striped floor", "a blue ring spins", "two big stars fall down"] * 20


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text(VOCABULARY)
    return path


@pytest.fixture(scope="module")
def piece_models(tmp_path_factory) -> dict[str, bytes]:
    """SentencePiece models with all special tokens, with T5's (pad, eos), and with ALBERT's ([CLS] and [SEP])."""
    folder = tmp_path_factory.mktemp("pieces")
    kinds = {
        "full": {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
        "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        "albert": {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": "[CLS],[SEP]"},
        "bare": {"unk_id": 0, "bos_id": -1, "eos_id": -1, "pad_id": -1},
    }
    models = {}
    for name, options in kinds.items():
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_prefix=str(folder / name),
            vocab_size=45,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
        models[name] = (folder / f"{name}.model").read_bytes()
    return models


def test_wordpiece_rows(vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    ids = tokenizer.encode(["A Red squares, slides", "blue", ""], 9)
    assert ids.dtype == np.int32
    assert ids.tolist() == [
        [2, 5, 6, 7, 8, 10, 9, 8, 3],
        [2, 1, 3, 0, 0, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert tokenizer.mask(ids).sum(1).tolist() == [9, 3, 2]
    assert tokenizer.decode(ids[0]) == "a red squares, slides"
    assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.pad_id, tokenizer.end_id) == ("wordpiece", 11, 0, 3)


def test_truncation_keeps_the_end_token(vocabulary):
    assert load_tokenizer(vocabulary).encode(["a a a a a a"], 5).tolist() == [[2, 5, 5, 5, 3]]


def test_special_tokens_cannot_be_written_in_a_caption(vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    assert not {tokenizer.end_id, tokenizer.pad_id, tokenizer.first_id} & set(tokenizer.pieces("a [SEP] red [PAD]"))


def test_lowercase_is_a_choice(vocabulary):
    assert load_tokenizer(vocabulary).pieces("RED") == [6]
    assert load_tokenizer(vocabulary, lowercase=False).pieces("RED") == [1]
    assert load_tokenizer(vocabulary).fingerprint != load_tokenizer(vocabulary, lowercase=False).fingerprint


def test_wrong_calls(vocabulary):
    tokenizer = load_tokenizer(vocabulary)
    with pytest.raises(ValueError, match="one string"):
        tokenizer.encode("a red square", 8)
    with pytest.raises(ValueError, match="need 3"):
        tokenizer.encode(["a"], 2)


@pytest.mark.parametrize("kind", ["full", "t5", "albert", "bare"])
def test_sentencepiece_special_tokens_follow_the_rule(piece_models, kind):
    tokenizer = SentencePieceTokenizer(piece_models[kind])
    processor = sentencepiece.SentencePieceProcessor(model_proto=piece_models[kind])
    size = processor.vocab_size()
    expected = {
        "full": (0, 2, 3, size),
        "t5": (0, size, 1, size + 1),
        "albert": (0, processor.piece_to_id("[CLS]"), processor.piece_to_id("[SEP]"), size),
        "bare": (size, size + 1, size + 2, size + 3),
    }[kind]
    assert (tokenizer.pad_id, tokenizer.first_id, tokenizer.end_id, tokenizer.vocab_size) == expected
    ids = tokenizer.encode(["A blue ring spins"], 40)[0]
    length = int(tokenizer.mask(ids).sum())
    assert ids[0] == tokenizer.first_id
    assert ids[length - 1] == tokenizer.end_id
    assert ids[1 : length - 1].tolist() == processor.encode("a blue ring spins")
    assert (ids[length:] == tokenizer.pad_id).all()
    assert ids.max() < tokenizer.vocab_size
    assert tokenizer.decode(ids) == "a blue ring spins"
    assert tokenizer.encode(["a blue ring spins"], 4)[0, -1] == tokenizer.end_id


def test_tokenizers_travel_and_are_saved(vocabulary, piece_models, tmp_path):
    for tokenizer in (load_tokenizer(vocabulary), SentencePieceTokenizer(piece_models["bare"])):
        copy = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301
        folder = tmp_path / tokenizer.kind
        tokenizer.save(folder)
        for other in (copy, load_tokenizer(folder), tokenizer_from_files(tokenizer.files())):
            assert other.fingerprint == tokenizer.fingerprint
            assert np.array_equal(other.encode(SENTENCES[:3], 16), tokenizer.encode(SENTENCES[:3], 16))


def test_tokenizer_json_is_read_as_it_says(vocabulary, tmp_path):
    tokenizer = load_tokenizer(vocabulary)
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer._tokenizer.to_str())
    again = load_tokenizer(path)
    assert np.array_equal(again.encode(["A red squares, slides"], 9), tokenizer.encode(["A red squares, slides"], 9))
    path.write_text('{"model": {"type": "BPE"}}')
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: a BPE tokenizer"):
        load_tokenizer(path)
    path.write_text("{")
    with pytest.raises(TokenizerError, match=r"not a tokenizer\.json"):
        load_tokenizer(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", b"[PAD]\n[UNK]\n[SEP]\na\n", r"v\.txt: lacks \[CLS\]"),
        ("v.txt", VOCABULARY.encode() + b"red\n", r"v\.txt, line 12: 'red' again, first on line 7"),
        ("v.txt", b"[PAD]\n\xff\xfe\n", r"v\.txt, line 2: not UTF-8"),
        ("v.model", b"no model", r"v\.model: not a SentencePiece model"),
        ("v.model", b"", r"v\.model: not a SentencePiece model"),
        ("v.bin", b"x", r"v\.bin: unknown type"),
    ],
)
def test_unusable_vocabularies_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(tmp_path / name)


def test_windows_line_ends(tmp_path, vocabulary):
    (tmp_path / "dos.txt").write_bytes(VOCABULARY.replace("\n", "\r\n").encode())
    assert load_tokenizer(tmp_path / "dos.txt").pieces("a red") == load_tokenizer(vocabulary).pieces("a red")


def test_where_vocabularies_are_looked_for(tmp_path, vocabulary):
    dataset = tmp_path / "shapes"
    version = dataset / "1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"no vocab\.txt next to the records"):
        load_tokenizer("dataset", dataset=dataset)
    (dataset / "vocab.txt").write_text(VOCABULARY)
    for folder in (dataset, version):
        assert load_tokenizer("dataset", dataset=folder).fingerprint == load_tokenizer(vocabulary).fingerprint
    with pytest.raises(TokenizerError, match=r"needs input\.dataset"):
        load_tokenizer("dataset")
    with pytest.raises(TokenizerError, match="did you mean 'moving_shapes'"):
        load_tokenizer("builtin:moving_shape")
    with pytest.raises(TokenizerError, match="no such vocabulary"):
        load_tokenizer(tmp_path / "gone.txt")
    with pytest.raises(TokenizerError, match="no vocabulary in this folder"):
        load_tokenizer(version)


def test_builtin_vocabulary_spells_any_english_sentence():
    tokenizer = load_tokenizer("builtin:moving_shapes")
    assert isinstance(tokenizer, WordPieceTokenizer)
    for text in ("The Quick brown fox's 3,141 jumps @ #dawn (really)!", "zyzzyva~^`|\\{}", "a video of a red square"):
        assert tokenizer.unk_id not in tokenizer.pieces(text)
    assert len(tokenizer.pieces("a small red square is sliding left")) == 7
    assert len(tokenizer.pieces("a video of")) == 3


@pytest.mark.parametrize(
    ("text", "ids"),
    [  # as published with the vocabulary
        ("Hello, my dog is cute", [101, 7592, 1010, 2026, 3899, 2003, 10140, 102]),
        ("hello world!", [101, 7592, 2088, 999, 102]),
        ("The capital of France is", [101, 1996, 3007, 1997, 2605, 2003, 102]),
    ],
)
def test_bert_ids(realdata, text, ids):
    tokenizer = load_tokenizer(realdata / "text" / "bert-base-uncased-vocab.txt")
    assert tokenizer.vocab_size == 30522
    assert tokenizer.encode([text], len(ids)).tolist() == [ids]


def test_real_sentencepiece_models(realdata):
    for path in sorted((realdata / "text").glob("*.model")):
        tokenizer = load_tokenizer(path)
        ids = tokenizer.encode(["the cat", ""], 16)
        assert ids.max() < tokenizer.vocab_size
        assert len({tokenizer.pad_id, tokenizer.first_id, tokenizer.end_id}) == 3
        assert tokenizer.mask(ids)[1].sum() == 2
