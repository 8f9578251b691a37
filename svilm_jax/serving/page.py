"""Gradio page: a text query, the retrieved clips, and the location of a phrase in one of them.

Videos are identified by row or by the key of an upload and served by the routes of `app`. The only path that a browser
sends is that of its own upload, as returned by Gradio; paths outside the upload folder are rejected.
"""

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from svilm_jax.filesystem.unicode_repair import repaired
from svilm_jax.inference.index import FoundClip
from svilm_jax.serving.errors import ServingError
from svilm_jax.serving.request_filter import uploaded
from svilm_jax.serving.service import Service, ShownClip

_HINT = "Choose one of the clips found, or upload one of your own."
_READING = (
    "Brighter patches match the phrase better. Colors are comparable within this clip only, and some "
    "patch is always the brightest: a low cosine means that the phrase is not there."
)


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The selected clip: a row of the index, or an upload."""

    name: str
    row: int = -1
    upload: str = ""


@dataclasses.dataclass(frozen=True)
class _Answers:
    """Content of the page: the query and its results."""

    sentence: str = ""
    found: tuple[FoundClip, ...] = ()


def build_page(service: Service, top: int, uploads: Path) -> gr.Blocks:
    """Builds the page, to be mounted.

    Args:
      top: number of clips shown for a query.
      uploads: folder in which Gradio stores uploads.
    """
    with gr.Blocks(title="S-ViLM", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as page:
        answers, chosen = gr.State(_Answers()), gr.State(None)
        gr.HTML(_head(service))
        with gr.Row(equal_height=True):
            sentence = gr.Textbox(
                placeholder="a red square is sliding left over a striped floor",
                show_label=False,
                container=False,
                scale=8,
                max_lines=2,
                elem_id="sentence",
            )
            search = gr.Button("Search", variant="primary", scale=1, min_width=110, elem_id="search")
        message = gr.HTML(visible=False, elem_id="message")
        with gr.Row(elem_classes="svilm-panes"):
            with gr.Column(elem_classes="svilm-found"):
                count = gr.HTML(_note("Type a sentence: the clips that fit it best appear here."), elem_id="count")
                cards, pictures, buttons = _cards(top)
            with gr.Column(elem_classes="svilm-panel"):
                heading = gr.HTML(_heading(None))
                with gr.Row(equal_height=True):
                    phrase = gr.Textbox(
                        placeholder="a red square",
                        show_label=False,
                        container=False,
                        scale=6,
                        max_lines=2,
                        elem_id="phrase",
                    )
                    show = gr.Button("Show where", scale=1, min_width=140, elem_id="show")
                trouble = gr.HTML(visible=False, elem_id="trouble")
                picture = gr.Image(
                    visible=False,
                    format="png",
                    show_label=False,
                    container=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="overlay",
                    alt_text="frames of the clip, and below each the heat map of the phrase",
                )
                score = gr.HTML(_note(_HINT), elem_id="score")
                limit = service.max_upload_bytes >> 20
                upload = gr.UploadButton(f"Upload a clip of your own (up to {limit} MB)", size="sm", elem_id="upload")

        def on_search(text: str) -> list[Any]:
            text = repaired(text)[0]  # what cannot be encoded cannot be answered either
            try:
                found = tuple(service.search(text, top))
            except ServingError as error:
                return [_message(error), gr.skip(), gr.skip(), *[gr.skip()] * (2 * top)]
            held = _Answers(text.strip(), found)
            said = _note(f"{len(found)} of {len(service.index):,} clips, best first") + _doubt(service.notes(text))
            return [_message(None), held, said, *_filled(service, found, top, -1)]

        def on_choose(place: int, held: _Answers) -> list[Any]:
            if place >= len(held.found):  # a button that is not on the page
                return [gr.skip()] * (6 + top)
            clip = held.found[place]
            one = _Chosen(f"Clip {place + 1}: {_file_name(clip.video)}, {_span(clip)}", row=clip.row)
            marked = _filled(service, held.found, top, place)[:top]
            return [one, held.sentence, _heading(one), *_pointed(service, one, held.sentence), *marked]

        def on_phrase(one: _Chosen | None, text: str) -> list[Any]:
            if one is None:
                return [_message(ServingError(_HINT)), gr.skip(), gr.skip()]
            return _pointed(service, one, text)

        def on_upload(path: str, text: str, held: _Answers) -> list[Any]:
            text = text if text.strip() else held.sentence
            try:
                if not uploaded(path, uploads):
                    raise ServingError("That file was not uploaded here: upload it.")
                one = _Chosen("Your clip", upload=service.add_upload(path))
            except ServingError as error:
                return [*[gr.skip()] * 3, _message(error), *[gr.skip()] * (2 + top)]
            answer = [_message(None), gr.update(visible=False), _note("Type a phrase to see where it is.")]
            if text:
                answer = _pointed(service, one, text)
            return [one, text, _heading(one), *answer, *_filled(service, held.found, top, -1)[:top]]

        # One request is computed at a time, for all visitors; none of them is offered as an API.
        one_at_a_time: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model", "api_visibility": "private"}
        pointed = [trouble, picture, score]
        gr.on(
            [search.click, sentence.submit],
            on_search,
            [sentence],
            [message, answers, count, *cards, *pictures],
            **one_at_a_time,
        )
        for place, button in enumerate(buttons):

            def choose(held: _Answers, place: int = place) -> list[Any]:
                return on_choose(place, held)

            button.click(choose, [answers], [chosen, phrase, heading, *pointed, *cards], **one_at_a_time)
        gr.on([show.click, phrase.submit], on_phrase, [chosen, phrase], pointed, **one_at_a_time)
        upload.upload(
            on_upload, [upload, phrase, answers], [chosen, phrase, heading, *pointed, *cards], **one_at_a_time
        )
    return page


def _cards(top: int) -> tuple[list[gr.Column], list[gr.HTML], list[gr.Button]]:
    cards, pictures, buttons = [], [], []
    with gr.Row(elem_classes="svilm-cards"):
        for place in range(top):
            with gr.Column(visible=False, elem_classes="svilm-card", min_width=0) as card:
                pictures.append(gr.HTML(elem_id=f"clip-{place + 1}"))
                buttons.append(gr.Button("Where?", size="sm", elem_id=f"choose-{place + 1}"))
            cards.append(card)
    return cards, pictures, buttons


def _filled(service: Service, found: Sequence[FoundClip], top: int, chosen: int) -> list[Any]:
    """Returns updates of all cards, then of their content; those without a clip are hidden."""
    cards = []
    for place in range(top):
        marked = ["svilm-card", "svilm-chosen"] if place == chosen else ["svilm-card"]
        cards.append(gr.update(visible=place < len(found), elem_classes=marked))
    texts = [_card(service, place + 1, clip) for place, clip in enumerate(found)]
    return [*cards, *texts, *[""] * (top - len(found))]


def _card(service: Service, rank: int, clip: FoundClip) -> str:
    fragment = service.fragment(clip.row)
    # A video that must be transcoded first waits for the visitor to press play, behind a poster image.
    waits = fragment is None
    video = _video(f"clips/{clip.row}{fragment or ''}", poster=f"posters/{clip.row}" if waits else "")
    name = html.escape(_file_name(clip.video))
    return (
        f'<div class="svilm-frame">{video}<span class="svilm-rank">{rank}</span></div>'
        f'<div class="svilm-line"><span>cosine <b>{clip.cosine:.3f}</b></span><span>{_span(clip)}</span></div>'
        f'<div class="svilm-name" title="{html.escape(service.title(clip))}">{name}</div>'
    )


def _pointed(service: Service, one: _Chosen, phrase: str) -> list[Any]:
    """Returns updates of the message, the picture and the text below it."""
    phrase = repaired(phrase)[0]
    try:
        clip: ShownClip = service.upload(one.upload) if one.upload else service.clip(one.row)
        answer = service.point(clip, phrase)
    except KeyError:
        return [_message(ServingError("That upload is gone: upload it again.")), gr.skip(), gr.skip()]
    except ServingError as error:
        return [_message(error), gr.skip(), gr.skip()]
    told = (
        f'<div class="svilm-score">“{html.escape(phrase.strip())}”: cosine <b>{answer.similarity:.3f}</b> with the '
        f"patches that fit it best.</div>{_doubt(service.notes(phrase, phrase=True))}"
        f'<div class="svilm-note">{_READING}</div>'
    )
    return [_message(None), gr.update(value=answer.picture, visible=True), told]


def _heading(one: _Chosen | None) -> str:
    if one is None:
        return '<p class="svilm-title">Where is a phrase?</p>'
    title = f'<p class="svilm-title">{html.escape(one.name)}</p>'
    return f'<div class="svilm-own">{_video(f"uploads/{one.upload}")}{title}</div>' if one.upload else title


def _head(service: Service) -> str:
    rows, videos = len(service.index), len(service.index.videos)
    held = f"{videos:,} videos" if rows == videos else f"{rows:,} windows of {videos:,} videos"
    held += html.escape(f", as {_file_name(service.index.origin.model)} sees them")
    return f'<div class="svilm-head"><h1>Clips by sentence</h1><span>{held}</span></div>'


def _video(address: str, poster: str = "") -> str:
    """Returns a player: with a poster it waits, otherwise it starts, muted."""
    start = f'preload="none" poster="{html.escape(poster)}"' if poster else "autoplay"
    return f'<video class="svilm-video" src="{html.escape(address)}" controls muted loop playsinline {start}></video>'


def _message(error: ServingError | None) -> Any:
    if error is None:
        return gr.update(value="", visible=False)
    return gr.update(value=f'<div class="svilm-message" role="alert">{html.escape(str(error))}</div>', visible=True)


def _note(text: str) -> str:
    return f'<div class="svilm-note">{html.escape(text)}</div>'


def _doubt(text: str) -> str:
    """Returns a note on parts of a text that were not understood; "" if there are none."""
    return f'<div class="svilm-note" role="status">{html.escape(text)}</div>' if text else ""


def _span(clip: FoundClip) -> str:
    return f"{clip.start:.1f}–{clip.end:.1f} s"


def _file_name(video: str) -> str:
    return video.replace("\\", "/").rsplit("/", 1)[-1]
