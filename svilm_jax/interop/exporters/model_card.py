"""Model card: the README.md of an exported model directory."""

from collections.abc import Mapping, Sequence

from svilm_jax.checkpoints.model_directory import ModelOrigin
from svilm_jax.config import Config

_UNKNOWN = "unknown"
_LEARNED = (
    "The model reflects its training data: validate its results\n"
    "on your own data before relying on them, and do not use it for decisions about people."
)


def model_card(
    name: str, config: Config, origin: ModelOrigin, metrics: str, dtype: str, notes: Sequence[str] = (), fresh: int = 0
) -> str:
    """Returns Markdown with the metadata block of model hubs.

    Args:
      name: name of the folder.
      config: config of the training.
      origin: source, license and data.
      metrics: a table as text, "" if nothing was measured.
      dtype: dtype of the parameters in the file.
      notes: sentences on precision and the like.
      fresh: number of untrained parameters.
    """
    license = origin.license or _UNKNOWN
    objectives = ", ".join(config.objectives) or "none"
    video, text = config.model.video, config.model.text
    tubelet = "x".join(map(str, video.tubelet_size))
    rows = {
        "comes from": origin.source,
        "license of the parameters": license if origin.license else "not stated; ask its authors",
        "trained on": origin.data or "not stated",
        "objectives": _objectives(config.objectives) or "none",
        "video": f"{video.num_frames} frames of {video.image_size}x{video.image_size}, tubelets of {tubelet}",
        "text": f"{text.max_length} tokens, including the first and the last special one",
        "joint space": f"{config.model.embed_dim} dimensions, cosine",
        "parameters in": dtype,
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    section = f"## Metrics\n\n```\n{metrics.rstrip()}\n```\n" if metrics else "## Metrics\n\nNone were measured.\n"
    state, caution = f"trained with {objectives}", _LEARNED
    if fresh:
        state = f"not trained yet: {fresh} of its parameters are random. Its config names the objectives {objectives}"
        caution = "Train it before you use it."
    remarks = "".join(f"- {note}\n" for note in notes)
    remarks = f"\n## Notes\n\n{remarks}" if remarks else ""
    return f"""---
license: {license}
library_name: svilm_jax
pipeline_tag: feature-extraction
tags: [video, video-text, retrieval, grounding, jax]
---

# {name}

A video-language model of the [S-ViLM](https://arxiv.org/abs/2303.16341) family (two towers, group tokens), written by
`svilm_jax`; {state}.

| | |
|---|---|
{table}

{section}{remarks}
## Use

```python
import svilm_jax

model = svilm_jax.load("{name}")
model.embed_video(["clip.mp4"]) @ model.embed_text(["a red square"]).T   # cosines
model.ground("clip.mp4", "a red square").per_frame()                      # heat map of every frame
```

Without this package: `safetensors.numpy.load_file("model.safetensors")` gives every parameter by its name, and
`config.json` describes the inputs. {caution}
"""


def _objectives(objectives: Mapping[str, Mapping[str, object]]) -> str:
    return ", ".join(
        f"{name} ({', '.join(f'{key}={value}' for key, value in options.items())})" if options else name
        for name, options in objectives.items()
    )
