"""Report section of an evaluator: what a reader of its metrics has to know."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Section:
    """Texts on the metrics of one prefix; a class attribute `SECTION` of an evaluator.

    Attributes:
      title: heading.
      text: how the metrics are measured, and what the baselines are.
      headline: the metric to show first, without the prefix; "": none.
      minor_baselines: baselines of it that only the full table lists.
    """

    title: str
    text: str = ""
    headline: str = ""
    minor_baselines: tuple[str, ...] = ()
